"""The node's certificate where libvirt and QEMU look for it: migration and libvirt's own connections run under TLS.

One directory serves libvirtd, libvirt's clients and QEMU; the three want the same files under three sets of names.
"""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gnt.model.layout import LIBVIRT_CERTIFICATES, LIBVIRT_KEYS, Layout

_GROUP: Final = "libvirt-qemu"
"""The group that QEMU runs under where libvirt is packaged by Debian: it reads the key itself."""

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY: Final = re.compile(r"-----BEGIN (?P<kind>[A-Z ]*PRIVATE KEY)-----.+?-----END (?P=kind)-----\n?", re.DOTALL)


def prepare_tls(layout: Layout) -> bool:
    """Write libvirt's and QEMU's certificate files from the node's own; True if anything changed.

    Called when noded starts and whenever its certificate changes; nothing without a certificate. `servercert.pem`
    is written last: who watches it then finds all the others.
    """
    try:
        authority = layout.authority_certificate.read_text()
        node = layout.node_pem.read_text()
    except FileNotFoundError:
        return False
    certificate = "".join(_CERTIFICATE.findall(node))
    key = _KEY.search(node)
    if not certificate or key is None:
        return False
    directory, group = layout.libvirt_pki, _qemu_group()
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    _own(directory, group, 0o750)
    changed = False
    for name, text in _files(authority, certificate, key[0]):
        changed |= _write(directory / name, text, group, secret=name in LIBVIRT_KEYS)
    return changed


def _files(authority: str, certificate: str, key: str) -> Iterator[tuple[str, str]]:
    """Give names and texts in the order in which they are written."""
    for name in LIBVIRT_KEYS:
        yield name, key
    for name in LIBVIRT_CERTIFICATES:
        yield name, authority if name.startswith("ca") else certificate


def _qemu_group() -> int | None:
    """Give the group id that may read the key besides us; None if there is none, or we may not give files away."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None


def _write(path: Path, text: str, group: int | None, *, secret: bool) -> bool:
    try:
        if path.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _own(fresh, group, 0o640 if secret else 0o644)
    fresh.replace(path)
    return True


def _own(path: Path, group: int | None, mode: int) -> None:
    """Give a path to the group, with this mode; without the group, to nobody but ourselves."""
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(mode)
    else:
        path.chmod(mode & ~0o077)
