"""The file of a backup: a tar archive (0600) with the store, what is secret apart and encrypted, and digests.

Members, in this order: `manifest.json` (a `Manifest`), `manifest.sha256` (its digest), `config.db` (the store without
secrets and without its log), `secrets` where there was a passphrase: AES-256-GCM of a `Secrets`, key by scrypt, bound
to this very store by its digest as associated data. The store in it can be read without gnt: it is SQLite.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gnt.model.epoch import Position
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Refused

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MANIFEST_DIGEST: Final = "manifest.sha256"
STORE: Final = "config.db"
SECRETS: Final = "secrets"
_SMALL: Final = 16 * 2**20
_SCRYPT_MOST: Final = 2**20
_PIECE: Final = 2**20


class Encryption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the key was made of the passphrase (scrypt), and the nonce of AES-256-GCM."""

    salt: bytes
    nonce: bytes
    n: int = 2**15
    r: int = 8
    p: int = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: of which cluster, from which node (name), when (seconds), up to which place in the log.

    `version` is that of the store's tables, `digests` are SHA-256 (lower-case hex) of the other members.
    """

    format: int
    gnt: str
    version: int
    cluster_name: str
    cluster_uuid: str
    node: str
    time: float
    position: Position
    digests: dict[str, str]
    encryption: Encryption | None = None


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of objects by key, and files of the data directory by their path in it."""

    rows: dict[str, bytes]
    files: dict[str, bytes]


def encrypt(secrets: Secrets, passphrase: str, store_digest: str, random: bytes) -> tuple[Encryption, bytes]:
    """Encrypt secrets for a store; `random` are 28 fresh random octets."""
    encryption = Encryption(salt=random[:16], nonce=random[16:28])
    plain = msgspec.msgpack.encode(secrets)
    return encryption, AESGCM(_key(encryption, passphrase)).encrypt(encryption.nonce, plain, store_digest.encode())


def decrypt(manifest: Manifest, data: bytes, passphrase: str) -> Secrets:
    """Give the secrets of a backup. Raises `Refused` for a wrong passphrase."""
    encryption = manifest.encryption
    if encryption is None:
        raise Refused(WRONG_INPUT, "this backup has no secrets, so it needs no passphrase")
    if not 1 < encryption.n <= _SCRYPT_MOST or encryption.r * encryption.p > 64 or len(encryption.nonce) != 12:
        raise Refused(WRONG_INPUT, "the backup names parameters for its encryption that cannot be right")
    try:
        plain = AESGCM(_key(encryption, passphrase)).decrypt(encryption.nonce, data, manifest.digests[STORE].encode())
        return msgspec.msgpack.decode(plain, type=Secrets)
    except (InvalidTag, msgspec.DecodeError):
        raise Refused(WRONG_INPUT, "the passphrase is not that of this backup") from None


def _key(encryption: Encryption, passphrase: str) -> bytes:
    kdf = Scrypt(salt=encryption.salt, length=32, n=encryption.n, r=encryption.r, p=encryption.p)
    return kdf.derive(passphrase.encode())


def write_backup(target: Path, manifest: Manifest, store: Path, secrets: bytes | None) -> None:
    """Write a backup (0600), whole or not at all. Raises `OSError`."""
    text = msgspec.json.encode(manifest)
    small = {MANIFEST: text, MANIFEST_DIGEST: f"{hashlib.sha256(text).hexdigest()}\n".encode()}
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for name, content in small.items():
                    archive.addfile(_member(name, len(content), manifest.time), io.BytesIO(content))
                with store.open("rb") as content_of_store:
                    archive.addfile(_member(STORE, store.stat().st_size, manifest.time), content_of_store)
                if secrets is not None:
                    archive.addfile(_member(SECRETS, len(secrets), manifest.time), io.BytesIO(secrets))
            file.flush()
            os.fsync(file.fileno())
        new.rename(target)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _member(name: str, size: int, time: float) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(time), 0o600
    return member


class Backup:
    """A backup that was found whole: `manifest`, and its members where they are needed."""

    def __init__(self, path: Path, manifest: Manifest, secrets: bytes) -> None:
        self.path = path
        self.manifest = manifest
        self.secrets = secrets

    @classmethod
    def read(cls, path: Path) -> Backup:
        """Open a backup and check all of it: format, digests. Raises `Refused` naming what is wrong."""
        try:
            with tarfile.open(path, mode="r:") as archive:
                manifest = _manifest(path, archive)
                found = {name: _digest(path, archive, name) for name in manifest.digests}
                for name, digest in found.items():
                    if digest != manifest.digests[name]:
                        raise _damaged(path, f"{name} has another digest than when it was written")
                if STORE not in found or (manifest.encryption is not None and SECRETS not in found):
                    raise _damaged(path, "something is missing in it")
                secrets = _read(path, archive, SECRETS) if SECRETS in found else b""
        except tarfile.TarError as error:
            raise _damaged(path, str(error)) from None
        except OSError as error:
            raise Refused(ENVIRONMENT, f"cannot read {path}: {error.strerror or error}") from None
        return cls(path, manifest, secrets)

    def extract_store(self, target: Path) -> None:
        """Write the store of the backup into a new file (0600). Raises `OSError`."""
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(self.path, mode="r:") as archive:
            content = archive.extractfile(STORE)
            while content is not None and (piece := content.read(_PIECE)):
                file.write(piece)


def _manifest(path: Path, archive: tarfile.TarFile) -> Manifest:
    text = _read(path, archive, MANIFEST)
    if hashlib.sha256(text).hexdigest().encode() != _read(path, archive, MANIFEST_DIGEST).strip():
        raise _damaged(path, f"{MANIFEST} has another digest than when it was written")
    try:
        form = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format", msgspec.Raw(b"0"))
        if bytes(form) != str(FORMAT).encode():
            raise Refused(
                WRONG_INPUT,
                f"{path} is a backup of format {bytes(form).decode()}, this gnt reads format {FORMAT}",
                hint="restore it with the release of gnt that wrote it",
            )
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise _damaged(path, f"{MANIFEST}: {error}") from None


def _read(path: Path, archive: tarfile.TarFile, name: str) -> bytes:
    content = _open(path, archive, name)
    data = content.read(_SMALL + 1)
    if len(data) > _SMALL:
        raise _damaged(path, f"{name} is too large")
    return data


def _digest(path: Path, archive: tarfile.TarFile, name: str) -> str:
    hashed = hashlib.sha256()
    content = _open(path, archive, name)
    while piece := content.read(_PIECE):
        hashed.update(piece)
    return hashed.hexdigest()


def _open(path: Path, archive: tarfile.TarFile, name: str) -> io.BufferedReader:
    try:
        content = archive.extractfile(name)
    except KeyError:
        content = None
    if content is None:
        raise _damaged(path, f"it has no {name}")
    return content  # type: ignore[return-value]  # a buffered reader of the archive's own


def _damaged(path: Path, what: str) -> Refused:
    return Refused(WRONG_INPUT, f"{path} is no whole backup of gnt: {what}")


def digest_of(path: Path) -> str:
    """Give the SHA-256 of a file as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
