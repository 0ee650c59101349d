"""`gnt-cluster restore`: make this machine the master of a cluster as a backup has it.

Nothing is changed before the backup was found whole. What is restored is a new beginning that nobody's log has: an
epoch and a serial number far above any that the cluster may have had since, this node as the only master candidate, no
job that would go on. What was here is kept aside; certificates of this cluster that are here stay.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

import gnt
from gnt.bootstrap.backup import kept_files
from gnt.bootstrap.backup_file import Backup, Secrets, decrypt
from gnt.bootstrap.daemons import ALL, Daemons
from gnt.bootstrap.this_node import NODED_PORT, PUBLIC, SECRET, make_tree, put, put_membership, put_ssconf
from gnt.daemon.config_view import digest_lines
from gnt.daemon.foreign import refuse_foreign
from gnt.daemon.names import resolve
from gnt.model.cluster import Cluster
from gnt.model.config_data import config_data
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import WRONG_STATE, ConfigError, Failed, GntError, Refused
from gnt.model.layout import Layout
from gnt.model.objects import ConfigObject, Node
from gnt.model.ssconf import ssconf_files
from gnt.store.changes import Change, Entry, Put, Remove, Space
from gnt.store.configuration import object_changes
from gnt.store.database import Database
from gnt.store.reading import Reader
from gnt.store.schema import VERSION
from gnt.store.syncing import sync_directory
from gnt.wire import certificates
from gnt.wire.calls import Membership
from gnt.wire.errors import to_job_error

EPOCHS_AHEAD: Final = 1_000_000
ENTRIES_AHEAD: Final = 1_000_000_000
"""How far ahead a restored cluster begins: farther than any has come since its backup."""
JOBS_AHEAD: Final = 1000
_FINAL: Final = frozenset({"success", "error", "canceled"})


class RestoreRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-cluster restore` hands over. `check`: only say what would be done. `force`: put a store here aside."""

    file: str
    passphrase: str | None = None
    check: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class _Papers:
    """Certificates: those that are trusted, the authority that signs, this node's own with its digest.

    `known` says whether other nodes know that; `rapi` and `users` are of the remote API, as far as there were any.
    """

    trusted: bytes
    authority: certificates.Identity
    own: certificates.Identity
    digest: str
    known: bool
    rapi: bytes | None
    users: bytes | None


@dataclass(frozen=True)
class _Made:
    """What is ready to be put in place."""

    store: Path
    cluster: Cluster
    position: Position
    papers: _Papers


class Restore:
    """One restore; `say` tells what is being done."""

    def __init__(
        self,
        request: RestoreRequest,
        layout: Layout,
        host: str,
        say: Callable[[str], None],
        *,
        daemons: Daemons | None = None,
        source: random.Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._request = request
        self._layout = layout
        self._host = host
        self._say = say
        self._source = source or random.SystemRandom()
        self._now = now()
        self._daemons = daemons or Daemons(layout, os.environ)

    def run(self) -> dict[str, Any]:
        """Check everything, then do it. Raises `Refused` before anything is changed; later failures are taken back."""
        refuse_foreign(self._layout)
        backup = Backup.read(Path(self._request.file))
        self._refuse(backup)
        if self._request.check:
            return self._described(backup)
        self._refuse_existing()
        secrets = self._secrets(backup)
        with ExitStack() as undo:
            make_tree(undo, self._layout, [])
            made = self._make(undo, backup, secrets)
            self._stop(undo)
            self._put_in_place(undo, made)
            self._start(made.cluster)
            undo.pop_all()
        return {
            "cluster": made.cluster.settings.cluster_name,
            "master": self._host,
            "time": backup.manifest.time,
            "aside": str(self._aside()) if self._aside().exists() else None,
            "offline": sorted(node.name for node in made.cluster.nodes.values() if node.offline),
            "epoch": str(made.position.epoch),
        }

    # Checks

    def _refuse(self, backup: Backup) -> None:
        manifest = backup.manifest
        if manifest.version > VERSION:
            raise Refused(
                WRONG_STATE,
                f"{backup.path} has tables of version {manifest.version}, this gnt knows {VERSION}",
                hint=f"restore it with gnt {manifest.gnt}",
            )
        known = self._membership()
        if known is not None and known.cluster_uuid != manifest.cluster_uuid:
            raise Refused(
                WRONG_STATE,
                f"This node belongs to the cluster {known.cluster_name}, the backup is of {manifest.cluster_name}"
                f" ({manifest.cluster_uuid})",
                hint="take this node out of its cluster first",
            )

    def _refuse_existing(self) -> None:
        if self._layout.config_db.exists() and not self._request.force:
            raise Refused(
                WRONG_STATE,
                f"This node has a store already: {self._layout.config_db}",
                hint="--force keeps it aside and puts the backup in its place",
            )

    def _described(self, backup: Backup) -> dict[str, Any]:
        manifest = backup.manifest
        return {
            "cluster": manifest.cluster_name,
            "node": manifest.node,
            "time": manifest.time,
            "gnt": manifest.gnt,
            "secrets": manifest.encryption is not None,
            "exists": self._layout.config_db.exists(),
            "running": [name for name in ALL if self._daemons.pid(name) is not None],
        }

    def _secrets(self, backup: Backup) -> Secrets:
        if self._request.passphrase is None:
            return Secrets(rows={}, files={})
        return decrypt(backup.manifest, backup.secrets, self._request.passphrase)

    def _membership(self) -> Membership | None:
        try:
            return msgspec.json.decode(self._layout.membership.read_bytes(), type=Membership)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    # Making it, beside what is here

    def _make(self, undo: ExitStack, backup: Backup, secrets: Secrets) -> _Made:
        work = self._layout.config_db.with_name(f"{self._layout.config_db.name}.restoring")
        _remove_store(work)
        undo.callback(_remove_store, work)
        self._say(f"restoring the store of {backup.manifest.cluster_name}")
        backup.extract_store(work)
        database = Database.open(work)
        try:
            cluster = database.load_cluster()
            if cluster.settings.uuid != backup.manifest.cluster_uuid:
                raise Refused(WRONG_STATE, f"{backup.path} is not of the cluster that it names")
            node = self._own_node(cluster)
            papers = self._papers(cluster, node, secrets)
            cluster, position = self._begin_anew(database, node, papers, secrets)
        finally:
            database.close()
        return _Made(work, cluster, position, papers)

    def _own_node(self, cluster: Cluster) -> Node:
        found = next((node for node in cluster.nodes.values() if node.name == self._host), None)
        if found is None:
            names = ", ".join(sorted(node.name for node in cluster.nodes.values())[:8])
            raise Refused(
                WRONG_STATE,
                f"{self._host} was no node of this cluster",
                hint=f"restore it on one of them: {names}",
            )
        try:
            address = resolve(self._layout, self._host)
        except Refused as error:
            self._say(f"{error.text}; the backup has {found.primary_ip} for it")
        else:
            if address != found.primary_ip:
                self._say(f"{self._host} resolves to {address}, the backup has {found.primary_ip} for it")
        return found

    def _known_positions(self) -> list[Position]:
        """Give the places in the log that this node knows of."""
        known = [START]
        membership = self._membership()
        if membership is not None:
            known.append(membership.position)
        if self._layout.config_db.exists():
            # A store that cannot be read is no reason not to restore.
            with suppress(ConfigError):
                reader = Reader.open(self._layout.config_db)
                state, end = reader.state(), reader.log_end()
                reader.close()
                known += [end, Position(epoch=state.promised, serial=end.serial)]
        return known

    # Certificates

    def _papers(self, cluster: Cluster, node: Node, secrets: Secrets) -> _Papers:
        """Choose authority and certificates: those here, those of the backup, else new ones."""
        here = self._files_here()
        membership = self._membership()
        complete = membership is not None and all(name in here for name in ("ca.pem", "ca.key", "server.pem"))
        files = here if complete else secrets.files
        if "ca.pem" in files and "ca.key" in files:
            trusted = files["ca.pem"]
            authority = certificates.signing_authority(trusted, files["ca.key"], "the cluster's authority")
        else:
            self._say("making a new authority: all other nodes have to be taken in again")
            authority = certificates.make_authority(cluster.settings.cluster_name, now=self._now, source=self._source)
            trusted = authority.certificate
        own = self._own_certificate(node, files.get("server.pem"), trusted)
        if own is None:
            self._say(f"making a certificate for {node.name}")
            own = self._sign(authority, node)
        digest = certificates.digest(own.certificate)
        known = {*cluster.settings.candidate_certs.values(), *cluster.settings.renewed_certs.values()}
        if membership is not None:
            known |= {*membership.candidates.values(), *membership.renewed.values()}
        return _Papers(
            trusted=trusted,
            authority=authority,
            own=own,
            digest=digest,
            known=digest in known,
            rapi=files.get("rapi.pem"),
            users=files.get("rapi/users"),
        )

    def _files_here(self) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in kept_files(self._layout).items() if path.is_file()}

    def _own_certificate(self, node: Node, kept: bytes | None, trusted: bytes) -> certificates.Identity | None:
        """Give the certificate that this node has or had, if it is its own and still good."""
        if kept is None:
            return None
        try:
            found = certificates.split_identity(kept, "server.pem")
            certificates.check_signed(found.certificate, trusted)
        except GntError:
            return None
        facts = certificates.facts(found.certificate)
        return found if node.uuid in facts.names and facts.ends > self._now else None

    def _sign(self, authority: certificates.Identity, node: Node) -> certificates.Identity:
        key = certificates.make_key()
        signed = certificates.sign_node(
            authority,
            certificates.make_request(key, node.name),
            name=node.name,
            uuid=node.uuid,
            addresses=sorted({node.primary_ip, node.secondary_ip}),
            now=self._now,
            source=self._source,
        )
        return certificates.Identity(signed, key)

    # The store

    def _begin_anew(
        self, database: Database, node: Node, papers: _Papers, secrets: Secrets
    ) -> tuple[Cluster, Position]:
        """Move the store ahead of all others of its cluster, and write the entries that make it this node's."""
        known = [*self._known_positions(), database.end, Position(epoch=database.promised, serial=0)]
        number = (max(position.epoch.number for position in known) // EPOCHS_AHEAD + 1) * EPOCHS_AHEAD
        serial = (max(position.serial for position in known) // ENTRIES_AHEAD + 1) * ENTRIES_AHEAD
        epoch = Epoch(number=number, node=node.uuid)
        database.begin_at(Position(epoch=epoch, serial=serial))
        self._append(database, [Put(Space.SECRET, key, value) for key, value in secrets.rows.items()])
        head = database.load_cluster()
        cluster, changes = object_changes(head, _alone(head, node, papers), [], self._now)
        changes += [*self._ended_jobs(database), self._recorded(cluster, epoch)]
        return cluster, self._append(database, changes)

    def _append(self, database: Database, changes: list[Change]) -> Position:
        last = database.end
        position = Position(epoch=last.epoch, serial=last.serial + 1)
        entry = Entry(position=position, time=self._now, changes=tuple(changes), jobs=(0,) * len(changes))
        database.append(last, [entry], committed=position.serial)
        return position

    def _ended_jobs(self, database: Database) -> list[Change]:
        """End what was under way: nodes may have gone on since, so nothing of it may run, nor be undone."""
        changes: list[Change] = []
        for space in (Space.UNDO, Space.DEBT):
            changes += [Remove(space, key) for key, _ in database.rows(space)]
        last = msgspec.json.decode(database.get(Space.META, "last_job") or b"0")
        changes.append(Put(Space.META, "last_job", msgspec.json.encode((last // JOBS_AHEAD + 1) * JOBS_AHEAD)))
        for row in database.unfinished_jobs():
            job: dict[str, Any] = msgspec.json.decode(row.value)
            changes.append(Put(Space.JOB, str(row.id), msgspec.json.encode(_ended(job, self._now))))
        return changes

    def _recorded(self, cluster: Cluster, epoch: Epoch) -> Change:
        """Record that this was done without a majority, as the master daemon records such things."""
        others = sorted(node.name for node in cluster.nodes.values() if node.name != self._host)
        record = {"time": self._now, "epoch": str(epoch), "nodes": others, "by": "gnt-cluster restore"}
        return Put(Space.META, f"unsafe/{self._now:017.6f}/{epoch.node}", msgspec.json.encode(record))

    # Putting it in place

    def _stop(self, undo: ExitStack) -> None:
        running = [name for name in ALL if self._daemons.pid(name) is not None]
        undo.callback(self._start_again, running)
        for name in reversed(running):
            self._say(f"ending {name}")
            self._daemons.stop(name)

    def _put_in_place(self, undo: ExitStack, made: _Made) -> None:
        layout, papers = self._layout, made.papers
        self._put_aside(undo)
        undo.callback(_remove_store, layout.config_db)
        made.store.rename(layout.config_db)
        sync_directory(layout.data)
        put(undo, layout.authority_certificate, papers.trusted, PUBLIC)
        put(undo, layout.authority_key, papers.authority.key, SECRET)
        put(undo, layout.node_pem, papers.own.pem(), SECRET)
        if not layout.rapi_pem.exists():
            put(undo, layout.rapi_pem, papers.rapi or self._rapi(papers, made.cluster), SECRET)
        if papers.users is not None and not layout.rapi_users.exists():
            layout.rapi_users.parent.mkdir(mode=0o755, exist_ok=True)
            put(undo, layout.rapi_users, papers.users, SECRET)
        self._write_views(undo, made.cluster, made.position, papers.digest)

    def _rapi(self, papers: _Papers, cluster: Cluster) -> bytes:
        settings, node = cluster.settings, cluster.master
        return certificates.make_rapi(
            papers.authority,
            cluster_name=settings.cluster_name,
            names=[settings.cluster_name, node.name],
            addresses=sorted({node.primary_ip, settings.master_ip}),
            now=self._now,
            source=self._source,
        ).pem()

    def _put_aside(self, undo: ExitStack) -> None:
        path = self._layout.config_db
        if not path.exists():
            return
        with suppress(ConfigError):
            Database.open(path).close()
        for suffix in ("", "-wal", "-shm"):
            source, target = path.with_name(path.name + suffix), self._aside(suffix)
            if source.exists():
                source.rename(target)
                undo.callback(target.rename, source)
        self._say(f"the store that was here is kept as {self._aside()}")

    def _aside(self, suffix: str = "") -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._now))
        return self._layout.config_db.with_name(f"{self._layout.config_db.name}.before-restore-{stamp}{suffix}")

    def _write_views(self, undo: ExitStack, cluster: Cluster, position: Position, digest: str) -> None:
        layout, node = self._layout, cluster.master
        membership = Membership(
            cluster_name=cluster.settings.cluster_name,
            cluster_uuid=cluster.settings.uuid,
            node_uuid=node.uuid,
            node_name=node.name,
            position=position,
            candidates={node.uuid: digest},
        )
        put_membership(undo, layout, membership)
        view = msgspec.json.encode(config_data(cluster))
        put(undo, layout.config_digest, digest_lines(layout, view).encode(), SECRET)
        put(undo, layout.config_data, view, SECRET)
        put_ssconf(undo, layout, ssconf_files(cluster, gnt.__version__))

    # Daemons

    def _start(self, cluster: Cluster) -> None:
        self._say("starting the daemons")
        self._daemons.start_all()
        self._daemons.wait_for_noded(cluster.master.primary_ip, NODED_PORT)
        self._daemons.wait_for_masterd()

    def _start_again(self, names: list[str]) -> None:
        """Run again what ran before; that one does not start must not hide why we are here."""
        for name in reversed(ALL):
            with suppress(Failed):
                self._daemons.stop(name)
        for name in names:
            try:
                self._daemons.start(name)
            except Failed as error:
                self._say(error.text)


def _remove_store(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _alone(cluster: Cluster, node: Node, papers: _Papers) -> list[ConfigObject]:
    """Give the objects that make one node the master and the only candidate.

    Others stay online if they know its certificate and so will obey.
    """
    changed: list[ConfigObject] = []
    for other in cluster.nodes.values():
        if other.uuid == node.uuid:
            changed.append(replace(other, master_candidate=True, offline=False, drained=False))
        elif papers.known:
            changed.append(replace(other, master_candidate=False))
        else:
            changed.append(replace(other, master_candidate=False, offline=True, drained=False))
    own = {node.uuid: papers.digest}
    settings = replace(cluster.settings, master_node=node.uuid, candidate_certs=own, renewed_certs={})
    return [settings, *changed]


def _ended(job: dict[str, Any], now: float) -> dict[str, Any]:
    """Give a job, as it is stored, at its end: what ran has failed, what waited was canceled."""
    microseconds = round(now * 1_000_000)
    stamp = [microseconds // 1_000_000, microseconds % 1_000_000]
    why = "The cluster was restored from a backup that was made before this job's end"
    ops = []
    for op in job["ops"]:
        if op["status"] in _FINAL:
            ops.append(op)
            continue
        ran = op["status"] == "running"
        ended = {key: value for key, value in op.items() if key != "locks"}
        ended |= {
            "status": "error" if ran else "canceled",
            "result": to_job_error(Failed(why)) if ran else why,
            "end_timestamp": stamp,
        }
        ops.append(ended)
    return {**job, "ops": ops, "end_timestamp": stamp}
