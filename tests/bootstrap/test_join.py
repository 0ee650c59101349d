"""Joining on the new node: what is written, what is refused, and that a failure leaves the machine as it was."""

from __future__ import annotations

import stat
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from gnt.bootstrap import this_node
from gnt.bootstrap.daemons import MASTERD, NODED
from gnt.bootstrap.join import JoinCommand, NodeJoin
from gnt.masterd.join_port import Offer
from gnt.model.errors import GntError
from gnt.model.layout import Layout
from gnt.model.ssconf import KEYS
from gnt.wire import certificates
from gnt.wire.calls import Membership
from tests.bootstrap.world import (
    CLUSTER_UUID,
    NAMES,
    PREFIX,
    Master,
    PretendedDaemons,
    directory,
    failing_write,
    machine,
    state,
)

SECRETS = ("server.pem", "membership.json")


class Joining(TestCase):
    """A master, and a plain machine that is to become node2."""

    timeout = 60

    def setUp(self) -> None:
        """Have both."""
        self.root = directory(self)
        self.master = Master(self.root / "node1")
        self.layout = machine(self.root / "node2")
        self.daemons = PretendedDaemons(self.layout)
        self.said: list[str] = []
        self.addCleanup(self._stop)

    def _stop(self) -> Deferred[None]:
        return ensureDeferred(self.master.port.stop())

    async def offer(self, **options: Any) -> Offer:
        """Make a token for node2; the job of an earlier joining has come meanwhile."""
        self.master.port.followed("node2")
        return await self.master.port.offer("node2", **options)

    def join(self, offer: Offer, *, readd: bool = False, host: str = "node2", layout: Layout | None = None) -> Any:
        """Join in a thread, as a program of its own would."""
        command = JoinCommand(token=offer.token.text(), readd=readd)
        where = layout or self.layout
        joining = NodeJoin(command, where, host, self.said.append, daemons=self.daemons.as_daemons())
        return deferToThread(joining.run)

    async def refused(self, offer: Offer, text: str, **options: Any) -> None:
        """See that joining fails with these words and changes nothing."""
        before = state(self.layout)
        error = await self.assertFailure(self.join(offer, **options), GntError)
        assert text in error.text, error.text
        assert state(self.layout) == before

    async def test_a_machine_becomes_a_node(self) -> None:
        """Certificates, membership, ssconf files, allowed directories are there with their modes; the daemon runs."""
        offer = await self.offer()
        result = await self.join(offer)
        assert result == {"cluster": "demo", "node": "node2", "uuid": offer.uuid}
        assert (await self.master.port.wait(offer.id, 0))["state"] == "joined"
        assert self.daemons.steps == ["start gnt-noded", f"wait {NAMES['node2']}:1811"]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.layout.data.iterdir()}
        assert {name: modes[name] for name in SECRETS} == dict.fromkeys(SECRETS, 0o600)
        assert modes["ca.pem"] == 0o644
        assert {modes[f"ssconf_{key}"] for key in KEYS} == {0o444}
        identity = certificates.load_identity(self.layout.node_pem)
        certificates.check_signed(identity.certificate, self.layout.authority_certificate.read_bytes())
        member = msgspec.json.decode(self.layout.membership.read_bytes(), type=Membership)
        assert (member.node_name, member.node_uuid, member.cluster_uuid) == ("node2", offer.uuid, CLUSTER_UUID)
        assert self.layout.ssconf("master_node").read_text() == "node1\n"
        allowed = self.layout.file_storage_paths.read_text().splitlines()[1:]
        own = self.layout.here(str(self.root / "files"))
        assert own.is_relative_to(self.layout.root)
        assert allowed == [str(own), str(self.root / "shared")]
        assert own.is_dir()
        assert (self.root / "shared").is_dir()
        assert not self.layout.authority_key.exists()

    async def test_the_key_stays_on_the_node(self) -> None:
        """Nothing that the master has, or said, holds the new node's key; nothing that was said holds the token."""
        offer = await self.offer()
        await self.join(offer)
        key = certificates.load_identity(self.layout.node_pem).key
        for path in self.master.layout.root.rglob("*"):
            assert not path.is_file() or key not in path.read_bytes()
        assert offer.token.text() not in "".join(self.said)

    async def test_the_administrators_list_of_directories_is_kept(self) -> None:
        """A list of allowed directories that is there is left alone, and that is said."""
        self.layout.file_storage_paths.parent.mkdir(parents=True)
        self.layout.file_storage_paths.write_text("/mine\n")
        await self.join(await self.offer())
        assert self.layout.file_storage_paths.read_text() == "/mine\n"
        assert any("keeping" in text for text in self.said)

    # Undo

    async def test_every_failed_write_is_undone(self) -> None:
        """Whichever file cannot be written: the machine is as before, and the master hears why."""
        before = state(self.layout)
        for number in range(1, 200):
            offer = await self.offer()
            with failing_write(number) as written:
                failed = ""
                try:
                    await self.join(offer)
                except OSError as error:
                    failed = error.filename
            if not failed:
                break
            assert failed == str(written[-1])
            fate = await self.master.port.wait(offer.id, 10)
            assert (fate["state"], "No space left" in fate["problem"]) == ("failed", True), fate
            assert state(self.layout) == before, written[-1]
            assert not self.daemons.running
        else:
            self.fail("it never came to its end")
        assert len(written) == number - 1 >= len(KEYS) + 4

    async def test_a_daemon_that_does_not_start_is_undone(self) -> None:
        """A failing start or wait ends the daemon, removes what it wrote, and the master hears why."""
        for step in ("start gnt-noded", f"wait {NAMES['node2']}:1811"):
            self.daemons.fails = step
            offer = await self.offer()
            await self.refused(offer, f"{step} failed")
            assert (await self.master.port.wait(offer.id, 10))["problem"] == f"{step} failed"
            assert not self.daemons.running

    async def test_a_master_that_does_not_hear_of_the_end_is_as_good_as_none(self) -> None:
        """When the master is gone before it noted that the node is ready, the node unmakes everything."""
        offer = await self.offer()
        real = self.daemons.wait_for_noded

        def wait(address: str, port: int) -> None:
            from twisted.internet.threads import blockingCallFromThread

            from tests.bootstrap.world import reactor

            real(address, port)
            blockingCallFromThread(reactor, lambda: ensureDeferred(self.master.port.stop()))

        self.daemons.wait_for_noded = wait  # type: ignore[method-assign]
        await self.refused(offer, f"the master at {PREFIX}.1")
        assert not self.daemons.running
        assert any("was not told" in text for text in self.said)

    # Refusals

    async def test_a_machine_of_a_cluster_is_refused(self) -> None:
        """What belongs to a cluster joins no other, and the token stays good."""
        offer = await self.offer()
        self.layout.data.mkdir(parents=True)
        for path in (self.layout.membership, self.layout.node_pem, self.layout.config_db):
            path.write_bytes(b"")
            self.patch(this_node, "resolve", None)  # nothing later is reached
            if path == self.layout.node_pem:
                await self.refused(offer, "server.pem")
            else:
                await self.refused(offer, "belongs to a cluster already")
            path.unlink()
        assert (await self.master.port.wait(offer.id, 0))["state"] == "open"

    async def test_foreign_data_and_masters_are_refused(self) -> None:
        """Another program's directory, and a machine where a master daemon runs, are left alone."""
        offer = await self.offer()
        self.daemons.running = {MASTERD}
        await self.refused(offer, "this is a master")
        self.daemons.running = set()
        self.layout.data.mkdir(parents=True)
        (self.layout.data / "hmac.key").write_text("theirs")
        await self.refused(offer, "made by another program")

    async def test_names_that_do_not_fit_are_refused(self) -> None:
        """No address, another machine's address, a name for which the token was not made."""
        offer = await self.offer()
        await self.refused(offer, "does not resolve", host="nowhere.invalid")
        await self.refused(offer, "is not a host name", host="no de")
        hosts = self.layout.root / "etc/hosts"
        hosts.write_text(hosts.read_text() + "192.0.2.1 faraway\n")
        await self.refused(offer, "no address of this machine", host="faraway")
        assert (await self.master.port.wait(offer.id, 0))["tries"] == 0
        await self.refused(offer, "was made for node2, not for this node", host="node3")

    async def test_a_busy_port_is_refused(self) -> None:
        """Where another program listens the node daemon could not."""
        import socket

        offer = await self.offer()
        with socket.socket() as taken:
            taken.bind((NAMES["node2"], 1811))
            taken.listen()
            await self.refused(offer, f"Port 1811 at {PREFIX}.2 cannot be used")

    async def test_a_bad_token_is_refused(self) -> None:
        """A damaged token is refused at once."""
        command = JoinCommand(token="ABCDEFGH")
        joining = NodeJoin(command, self.layout, "node2", self.said.append, daemons=self.daemons.as_daemons())
        with pytest.raises(GntError, match="incomplete or has a mistake"):
            joining.run()
        assert "ABCDEFGH" not in repr(command)

    # Again

    async def test_a_node_is_taken_back_when_that_was_said(self) -> None:
        """With readd the old certificate is replaced, the daemon restarted, the authority's key taken away."""
        await self.join(await self.offer())
        first = self.layout.node_pem.read_bytes()
        self.layout.authority_key.write_bytes(b"key of a candidate")
        self.layout.authority_key.chmod(0o600)
        offer = await self.offer()
        await self.refused(offer, "belongs to a cluster already")
        self.daemons.steps.clear()
        await self.join(offer, readd=True)
        assert self.layout.node_pem.read_bytes() != first
        assert self.daemons.steps[:2] == ["stop gnt-noded", "start gnt-noded"]
        assert not self.layout.authority_key.exists()

    async def test_what_the_old_daemon_was_told_meanwhile_is_kept(self) -> None:
        """Who the candidates are it has acknowledged, and is not told again. Older words, or of another term, go."""
        await self.join(await self.offer())
        old = msgspec.json.decode(self.layout.membership.read_bytes(), type=Membership)
        position = self.master.truth.position
        other = msgspec.structs.replace(position.epoch, number=9)
        for number, epoch, kept in ((8, position.epoch, True), (6, position.epoch, False), (8, other, False)):
            offer = await self.offer()
            newer = msgspec.structs.replace(position, serial=number, epoch=epoch)
            told = msgspec.structs.replace(old, node_uuid=offer.uuid, position=newer, candidates={"b": "digest"})
            self.layout.membership.write_bytes(msgspec.json.encode(told))
            self.layout.ssconf("master_candidates").write_text("node-b\n")
            await self.join(offer, readd=True)
            now = msgspec.json.decode(self.layout.membership.read_bytes(), type=Membership)
            assert (now == told) is kept
            assert (self.layout.ssconf("master_candidates").read_text() == "node-b\n") is kept

    async def test_a_failure_while_taking_back_restores_the_old_node(self) -> None:
        """The old files come back, with their modes, and the old daemon runs again."""
        await self.join(await self.offer())
        self.layout.authority_key.write_bytes(b"key of a candidate")
        self.layout.authority_key.chmod(0o600)
        for number in (1, 2, 3, 10, len(KEYS) + 3):
            with failing_write(number):
                await self.assertUndone("No space left", OSError)
        self.daemons.fails = f"wait {NAMES['node2']}:1811"
        await self.assertUndone("failed", GntError)

    async def assertUndone(self, text: str, kind: type[Exception]) -> None:
        """See that taking back fails, and that the old node is as it was and runs."""
        before = state(self.layout)
        error = await self.assertFailure(self.join(await self.offer(), readd=True), kind)
        assert text in str(error)
        assert state(self.layout) == before
        assert self.daemons.running == {NODED}

    async def test_a_node_of_another_cluster_is_not_taken(self) -> None:
        """Readd is for the same cluster only, whether membership or only certificates say which it was."""
        await self.join(await self.offer())
        other = Master(self.root / "other", seed=3)
        other.rename("elsewhere")
        self.addCleanup(lambda: ensureDeferred(other.port.stop()))
        for text in ("belongs to the cluster demo, and the token is for elsewhere", "is another cluster's"):
            before = state(self.layout)
            offer = await other.port.offer("node2")
            error = await self.assertFailure(self.join(offer, readd=True), GntError)
            assert text in error.text
            assert state(self.layout) == before
            assert (await other.port.wait(offer.id, 10))["state"] == "failed"
            self.layout.membership.unlink(missing_ok=True)

    async def test_a_damaged_membership_is_named(self) -> None:
        """With readd a membership that cannot be read is refused by name."""
        self.layout.data.mkdir(parents=True)
        self.layout.membership.write_bytes(b"{")
        await self.refused(await self.offer(), "membership.json is damaged", readd=True)
