"""Refusing to start where somebody else's cluster lives.

The names of our files are those of Ganeti, because existing tools look for them; so a machine whose own Ganeti is
enabled, or a data directory that Ganeti wrote, must be recognised before a single file is touched. Everything here
only reads, and blocks: call it before the reactor runs.

Only what is below the node's own root counts: a cluster on trial below another root shares nothing with the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gnt.model.errors import ENVIRONMENT, Refused
from gnt.model.layout import Layout

# Written by us only: the store, the call table, and what joining leaves.
_OURS: Final = ("config.db", "calls.db", "membership.json", "ca.pem")
# Written by Ganeti only, whichever release.
_THEIRS: Final = ("hmac.key", "cluster-domain-secret", "client.pem", "queue/serial", "queue/version", "locks.data")
_SHARED: Final = ("config.data", "ssconf_cluster_name", "ssconf_master_node")
_UNIT_DIRECTORIES: Final = ("etc/systemd/system", "run/systemd/system")


def refuse_foreign(layout: Layout, *, proc: Path = Path("/proc")) -> None:
    """Refuse a data directory that another program made, and a machine whose own Ganeti is enabled or runs.

    Raises `Refused` (environment_error) with one line that names what was found.
    """
    refuse_foreign_data(layout)
    refuse_foreign_daemons(layout, proc=proc)


def refuse_foreign_data(layout: Layout) -> None:
    """Refuse a data directory that another program made. Raises `Refused`."""
    theirs = [name for name in _THEIRS if (layout.data / name).exists()]
    if not any((layout.data / name).exists() for name in _OURS):
        theirs += [name for name in _SHARED if (layout.data / name).exists()]
    if theirs:
        raise Refused(
            ENVIRONMENT,
            f"{layout.data} was made by another program: it has {theirs[0]}",
            hint="move that directory away, or give this node a root of its own with GNT_ROOTDIR",
        )
    if layout.node_pem.exists() and not _is_signed(layout.node_pem, layout.authority_certificate):
        raise Refused(
            ENVIRONMENT,
            f"{layout.node_pem} is not a certificate of this cluster's authority ({layout.authority_certificate.name})",
            hint="another program made it: move the directory away, or set GNT_ROOTDIR",
        )


def refuse_foreign_daemons(layout: Layout, *, proc: Path = Path("/proc")) -> None:
    """Refuse a machine whose own Ganeti is enabled or runs. Raises `Refused`."""
    for found in (*_enabled(layout.root), *_running(layout, proc)):
        raise Refused(
            ENVIRONMENT,
            f"This machine's own Ganeti is in use: {found}",
            hint="disable and stop it first: systemctl disable --now 'ganeti*'",
        )


def _enabled(root: Path) -> Iterator[str]:
    """Find what starts Ganeti by itself: units that are wanted, start scripts, cron jobs with their programs."""
    for directory in _UNIT_DIRECTORIES:
        for unit in sorted((root / directory).glob("*.wants/ganeti*")) if (root / directory).is_dir() else ():
            # A link to a unit that is gone, or masked, starts nothing.
            if _leads_to_a_file(root, unit):
                yield f"the unit {unit.name} is enabled"
    for script in sorted(root.glob("etc/rc[2-5].d/S*ganeti*")):
        if _leads_to_a_file(root, script) and _has_program(root, "ganeti-noded"):
            yield f"the start script {script} is enabled"
    if (root / "etc/cron.d/ganeti").is_file() and _has_program(root, "ganeti-watcher"):
        yield f"{root / 'etc/cron.d/ganeti'} runs ganeti-watcher"


def _running(layout: Layout, proc: Path) -> Iterator[str]:
    """Find Ganeti's daemons by their pid files; a file whose process is gone, or another program's, is nothing."""
    for path in sorted(layout.run.glob("ganeti-*.pid")) if layout.run.is_dir() else ():
        text = path.read_text(errors="replace").strip()
        if not text.isdecimal():
            continue
        try:
            command = (proc / text / "cmdline").read_bytes()
        except OSError:
            continue
        if b"ganeti-" in command:
            yield f"{path.stem} runs as process {text}"


def _leads_to_a_file(root: Path, link: Path) -> bool:
    """Follow a link within the root: what is absolute in there is meant from there."""
    if not link.is_symlink():
        return link.is_file()
    target = link.readlink()
    if str(target) == "/dev/null":
        return False
    return (root / str(target).lstrip("/") if target.is_absolute() else link.parent / target).exists()


def _has_program(root: Path, name: str) -> bool:
    """Say whether one of Ganeti's programs is installed; what a removed package left starts nothing."""
    return any((root / directory / name).exists() for directory in ("usr/sbin", "usr/local/sbin", "sbin"))


def _is_signed(certificate: Path, authority: Path) -> bool:
    """Say whether an authority in one file (two while it is replaced) signed the certificate in the other."""
    try:
        node = x509.load_pem_x509_certificate(certificate.read_bytes())
        trusted = x509.load_pem_x509_certificates(authority.read_bytes())
    except (OSError, ValueError):
        return False
    return any(_is_signed_by(node, one) for one in trusted)


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
