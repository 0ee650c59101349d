"""The connection to libvirt: opened when first needed, opened again when it was lost; events from a thread of its own.

`libvirt` is imported here and when first needed only: a node without it can do everything that needs no libvirt.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from twisted.logger import Logger

from gnt.model.errors import NodeFailure
from gnt.noded.storage.programs import lacks_driver, no_driver

_KEEP_ALIVE: Final = (5, 3)
"""Seconds between two signs of life, and how many may be missed."""

_LOG = Logger(namespace="gnt.noded.libvirt")


class _Library:
    """libvirt itself: one in a process, with one event loop, which must run before the first connection is opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._module: Any = None

    def get(self) -> Any:
        """Give the module. `no_libvirt` if it is not installed."""
        with self._lock:
            if self._module is None:
                self._module = self._load()
            return self._module

    def _load(self) -> Any:
        try:
            module = importlib.import_module("libvirt")
        except ImportError as error:
            raise NodeFailure(
                "no_libvirt",
                f"this node cannot use libvirt from Python: {error}",
                hint="install python3-libvirt, or gnt[libvirt]",
            ) from error
        # Errors reach us as exceptions; libvirt would also print each to standard error.
        module.registerErrorHandler(lambda _context, _error: None, None)
        module.virEventRegisterDefaultImpl()
        threading.Thread(target=self._run_events, args=(module,), name="libvirt-events", daemon=True).start()
        return module

    @staticmethod
    def _run_events(module: Any) -> None:
        while True:
            try:
                module.virEventRunDefaultImpl()
            except module.libvirtError as error:
                _LOG.error("libvirt's events: {error}", error=error)


LIBRARY: Final = _Library()


class LibvirtConnection:
    """One connection, for all threads. `uri` is asked for each time that one is opened, `prepare` called before."""

    def __init__(self, uri: Callable[[], str], prepare: Callable[[str], None] = lambda _uri: None) -> None:
        self._uri = uri
        self._prepare = prepare
        self._lock = threading.Lock()
        self._connection: Any = None
        self._opened = ""
        self._listener: Callable[[str, int, int], None] | None = None

    @property
    def library(self) -> Any:
        """Give the module `libvirt`, for its constants."""
        return LIBRARY.get()

    def uri(self) -> str:
        """Say where it is connected to, or would connect to now."""
        return self._opened if self._connection is not None else self._uri()

    def listen(self, listener: Callable[[str, int, int], None]) -> None:
        """Call with UUID, event and detail of each change of a domain, in libvirt's thread; must not block."""
        self._listener = listener

    def get(self) -> Any:
        """Give the open connection; opens it if there is none, or the old one broke."""
        library = self.library
        with self._lock:
            if self._connection is not None and not self._alive(library):
                _LOG.warn("the connection to libvirt was lost")
                with suppress(library.libvirtError):
                    self._connection.close()
                self._connection = None
            if self._connection is None:
                self._connection = self._open(library)
            return self._connection

    def _alive(self, library: Any) -> bool:
        try:
            return bool(self._connection.isAlive())
        except library.libvirtError:
            return False

    def _open(self, library: Any) -> Any:
        uri = self._uri()
        self._prepare(uri)
        try:
            connection = library.open(uri)
        except library.libvirtError as error:
            raise NodeFailure(
                "no_libvirt",
                f"libvirt does not answer at {uri}: {one_line(error)}",
                hint="is libvirtd running? GNT_LIBVIRT_URI names another one",
                retry=True,
            ) from error
        # Drivers inside this process have nothing to keep alive.
        with suppress(library.libvirtError):
            connection.setKeepAlive(*_KEEP_ALIVE)
        with suppress(library.libvirtError):
            connection.domainEventRegisterAny(None, library.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._event, None)
        self._opened = uri
        return connection

    def _event(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if self._listener is not None:
            self._listener(domain.UUIDString(), event, detail)

    @contextmanager
    def errors(self, what: str, *, code: str = "hypervisor") -> Iterator[None]:
        """Turn libvirt's errors into a `NodeFailure` that begins with `what`."""
        library = self.library
        try:
            yield
        except library.libvirtError as error:
            if lacks_driver(str(error)):
                raise no_driver("QEMU") from error
            number = error.get_error_code()
            lost = number in {library.VIR_ERR_RPC, library.VIR_ERR_NO_CONNECT}
            known = "not_running" if number == library.VIR_ERR_NO_DOMAIN else code
            raise NodeFailure(known, f"{what}: {one_line(error)}", retry=lost) from error


def one_line(error: Exception) -> str:
    """Give libvirt's words without line breaks."""
    return " ".join(str(error).split())
