"""What a node forgets when it leaves its cluster, or when the cluster ends: spec/node-rpc.md, section 6.3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gnt.daemon.files import sync_directory
from gnt.model.layout import LIBVIRT_CERTIFICATES, LIBVIRT_KEYS, Layout


def forget_cluster(layout: Layout) -> None:
    """Remove certificates, configuration, history and queue of a node. Blocks; may be repeated. Raises `OSError`.

    Secrets go first. What lets the node come up and be told again goes last, so that a removal that was cut short
    can be ordered once more. The administrator's own files (`rapi/users`, all below `etc` but libvirt's copy
    of the certificate) stay.
    """
    last = [
        layout.calls_db,
        *(layout.calls_db.with_name(f"{layout.calls_db.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")),
        layout.membership,
        layout.authority_certificate,
        layout.node_pem,
    ]
    secrets = [layout.authority_key, layout.rapi_pem, *libvirt_files(layout), *_unfinished(layout.data)]
    queue = layout.data / "queue"
    others = [
        *_visible_files(layout.data),
        *_visible_files(queue),
        *(path for directory in _directories(queue / "archive") for path in _visible_files(directory)),
        *(path for directory in _directories(layout.run / "crypto") for path in _visible_files(directory)),
    ]
    for path in (*secrets, *(path for path in others if path not in last), *last):
        path.unlink(missing_ok=True)
    if layout.data.is_dir():
        sync_directory(layout.data)


def libvirt_files(layout: Layout) -> list[Path]:
    """Give what was written for libvirt, keys first, those also that a crash left half-written."""
    directory = layout.libvirt_pki
    paths = [directory / name for name in (*LIBVIRT_KEYS, *LIBVIRT_CERTIFICATES)]
    return [*(path for path in paths if path.exists()), *_unfinished(directory)]


def _visible_files(directory: Path) -> Iterator[Path]:
    """Give the regular files in a directory whose names do not begin with a dot."""
    if directory.is_dir():
        yield from (
            path
            for path in sorted(directory.iterdir())
            if not path.name.startswith(".") and path.is_file() and not path.is_symlink()
        )


def _unfinished(directory: Path) -> Iterator[Path]:
    """Give the files that a crash left half-written beside their places; a key may be in them."""
    if directory.is_dir():
        yield from (path for path in sorted(directory.glob(".*.new")) if path.is_file())


def _directories(directory: Path) -> Iterator[Path]:
    """Give a directory and those directly in it."""
    if directory.is_dir():
        yield directory
        yield from (path for path in sorted(directory.iterdir()) if path.is_dir() and not path.is_symlink())
