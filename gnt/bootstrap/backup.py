"""`gnt-cluster backup`: one consistent file of a cluster, taken beside the running daemons or while they are down.

It reads the store on a connection of its own, so no commit waits and no daemon hears the passphrase. Everything that is
in the master's log is in it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

import gnt
from gnt.bootstrap.backup_file import (
    FORMAT,
    SECRETS,
    STORE,
    Encryption,
    Manifest,
    Secrets,
    digest_of,
    encrypt,
    write_backup,
)
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.store.changes import Space
from gnt.store.database import Database
from gnt.store.reading import Reader
from gnt.store.schema import VERSION
from gnt.store.secrets import PREFIX
from gnt.store.vault import copy_store, strip_store

_RANDOM: Final = 28


class BackupRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-cluster backup` hands over: an absolute path, and what to encrypt secrets with (None: none go in)."""

    file: str
    passphrase: str | None = None


def backup(
    request: BackupRequest, layout: Layout, host: str, say: Callable[[str], None], *, now: Callable[[], float]
) -> dict[str, Any]:
    """Write the backup. Raises `Refused` where there is no store of a master, `ConfigError` for one that is damaged."""
    target = Path(request.file)
    if not target.is_absolute():
        raise Refused(WRONG_INPUT, f"{target} is not an absolute path")
    if target.exists():
        raise Refused(WRONG_INPUT, f"{target} exists already", hint="choose another name, or move it away")
    if request.passphrase is not None and not request.passphrase:
        raise Refused(WRONG_INPUT, "the passphrase is empty")
    try:
        # Beside the target, where there is room for it, and never wider than 0700.
        with tempfile.TemporaryDirectory(prefix=".gnt-backup-", dir=target.parent) as work:
            manifest, secrets = _gather(request, layout, host, Path(work) / STORE, now())
            write_backup(target, manifest, Path(work) / STORE, secrets)
    except OSError as error:
        raise Refused(ENVIRONMENT, f"cannot write {error.filename or target}: {error.strerror}") from None
    say(f"{manifest.cluster_name} is in it up to entry {manifest.position.serial} of its log")
    return {
        "file": str(target),
        "size": target.stat().st_size,
        "cluster": manifest.cluster_name,
        "entry": manifest.position.serial,
        "secrets": secrets is not None,
    }


def _gather(request: BackupRequest, layout: Layout, host: str, copy: Path, now: float) -> tuple[Manifest, bytes | None]:
    """Copy the store without secrets to `copy`, and give what belongs to it."""
    copy_store(layout.config_db, copy)
    # The copy is brought to our version where the store is of an older one.
    Database.open(copy).close()
    reader = Reader.open(copy)
    try:
        cluster, position = reader.load_cluster(), reader.log_end()
        rows = dict(reader.rows(Space.SECRET, PREFIX))
    finally:
        reader.close()
    master: Node = cluster.master
    if master.name != host:
        raise Refused(WRONG_STATE, f"{host} is not the master, {master.name} is", hint=f"run it on {master.name}")
    strip_store(copy)
    digests = {STORE: digest_of(copy)}
    encryption: Encryption | None = None
    encrypted: bytes | None = None
    if request.passphrase is not None:
        secrets = Secrets(
            rows=rows, files={name: path.read_bytes() for name, path in kept_files(layout).items() if path.is_file()}
        )
        encryption, encrypted = encrypt(secrets, request.passphrase, digests[STORE], os.urandom(_RANDOM))
        digests[SECRETS] = _digest(encrypted)
    manifest = Manifest(
        format=FORMAT,
        gnt=gnt.__version__,
        version=VERSION,
        cluster_name=cluster.settings.cluster_name,
        cluster_uuid=cluster.settings.uuid,
        node=host,
        time=now,
        position=position,
        digests=digests,
        encryption=encryption,
    )
    return manifest, encrypted


def kept_files(layout: Layout) -> dict[str, Path]:
    """Name the secret files of a master that a backup keeps where there is a passphrase."""
    return {
        "ca.pem": layout.authority_certificate,
        "ca.key": layout.authority_key,
        "server.pem": layout.node_pem,
        "rapi.pem": layout.rapi_pem,
        "rapi/users": layout.rapi_users,
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
