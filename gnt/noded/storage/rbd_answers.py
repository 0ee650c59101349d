"""What Ceph's `rbd` command says about a failure, as our errors. Its exit status is the number of a system error.

That number alone says little: 2 is a missing image, pool, key, configuration file or kernel module. Of these only the
first means that a disk is not there, so the words count too (they are those of Ceph 16, and have not changed since 10).
"""

from __future__ import annotations

import errno
import re
from typing import Any, Final

import msgspec

from gnt.model.errors import NodeFailure
from gnt.noded.processes import Finished
from gnt.noded.storage.programs import said

UNREACHABLE: Final = "unreachable"
"""The code of a failure that holds for every image: no answer from the cluster, or no key for it."""

_NO_IMAGE: Final = re.compile(
    r"^rbd: (?:error opening image|delete error|failed to remove snapshot|rename error)\b.*\(2\) No such file",
    re.MULTILINE | re.DOTALL,
)
_NO_POOL: Final = re.compile(r"^rbd: error opening pool '([^']*)': \(2\)", re.MULTILINE)
_NO_KEY: Final = re.compile(r"unable to find a keyring on (.*?): \(2\)")
_NO_MODULE: Final = "failed to load rbd kernel module"
_NO_CLUSTER: Final = "couldn't connect to the cluster"
_NO_MONITORS: Final = "unable to get monitor info"
_CONF: Final = "the settings in /etc/ceph/ceph.conf, or in what CEPH_CONF and CEPH_ARGS name, say where it is"


def is_missing(done: Finished) -> bool:
    """Say whether a command failed because the image (or snapshot) is not there, and for no other reason."""
    return done.status == errno.ENOENT and _NO_IMAGE.search(done.errors) is not None and no_pool(done) is None


def no_pool(done: Finished) -> str | None:
    """Give the pool that a command did not find."""
    found = _NO_POOL.search(done.errors)
    return found[1] if found is not None else None


def failure(what: str, done: Finished) -> NodeFailure:
    """Say what the failure of a command means."""
    pool = no_pool(done)
    if pool is not None:
        hint = f"ceph osd pool create {pool} && rbd pool init {pool}, or give another: -D rbd:pool=NAME"
        return NodeFailure("not_found", f"Ceph has no pool {pool!r}", hint=hint)
    if _NO_MODULE in done.errors:
        return NodeFailure(
            "unsupported",
            "the kernel of this node has no rbd module, so images cannot be mapped",
            hint="let QEMU open them by itself: gnt-cluster modify -D rbd:access=userspace",
        )
    status = done.status or 0
    if status == errno.ETIMEDOUT:
        return NodeFailure(UNREACHABLE, "Ceph does not answer", hint=f"ceph status; {_CONF}", retry=True)
    if _NO_CLUSTER in done.errors:
        return _no_cluster(done)
    if status in {errno.EPERM, errno.EACCES}:
        text = f"Ceph does not allow this node's user to do that: rbd {what}: {_spoken(done)}"
        return NodeFailure("not_allowed", text, hint="ceph auth get client.NAME; it needs profile rbd for the pool")
    code = {errno.EBUSY: "busy", errno.EEXIST: "exists", errno.ENOSPC: "no_space"}.get(status, "storage_error")
    if is_missing(done):
        code = "not_found"
    return NodeFailure(code, f"rbd {what} {done.how}: {_spoken(done)}", retry=code == "busy")


def _no_cluster(done: Finished) -> NodeFailure:
    key = _NO_KEY.search(done.errors)
    if key is not None:
        text = f"this node has no key for Ceph: there is no keyring at {key[1]}"
    elif _NO_MONITORS in done.errors:
        text = "this node does not know where Ceph's monitors are"
    else:
        text = f"Ceph does not let this node in (its error {done.status})"
    return NodeFailure(UNREACHABLE, text, hint=_CONF)


def _spoken(done: Finished) -> str:
    """Give the last line that is for people: those of the library bear a time, and come in between."""
    lines = [line.strip() for line in done.errors.splitlines() if line.startswith("rbd: ")]
    return lines[-1].removeprefix("rbd: ") if lines else said(done)


def read(done: Finished, what: str) -> Any:
    """Decode the answer of a command."""
    try:
        return msgspec.json.decode(done.output)
    except msgspec.DecodeError:
        raise NodeFailure("storage_error", f"rbd {what} gave an answer that is no JSON") from None
