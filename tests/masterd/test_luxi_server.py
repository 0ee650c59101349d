"""The LUXI server on real sockets: framing, turns, faults, bad clients."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from gnt.daemon.open_files import allow_many
from gnt.masterd import luxi_server
from gnt.masterd.join_port import Offer
from gnt.masterd.luxi_methods import LuxiMethods
from gnt.masterd.luxi_server import LuxiServer
from gnt.model.errors import UNKNOWN_ENTITY, QueueDrained, Refused
from gnt.model.layout import Layout
from gnt.opcodes import node as node_opcodes
from gnt.opcodes import test as test_opcodes
from gnt.wire.joining import Token, parse_token
from gnt.wire.luxi_client import LuxiClient
from tests.masterd.fake_rules import FakeRules
from tests.masterd.jobs.fakes import Brain, delay


class FakeQueries:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.held: dict[str, Deferred[Any]] = {}

    async def query(self, what: str, fields: list[str], query_filter: Any) -> Any:
        """Answer, or wait, or fail."""
        if self.fault is not None:
            raise self.fault
        if what in self.held:
            return await self.held[what]
        return {"fields": [], "data": [[what, fields, query_filter]]}

    async def query_fields(self, what: str, fields: list[str] | None) -> Any:
        """Answer what was asked."""
        return {"fields": [what, fields]}

    async def classic(self, what: str, names: list[str], fields: list[str]) -> list[list[Any]]:
        """Answer what was asked."""
        return [[what, list(names), fields]]

    async def cluster_info(self) -> dict[str, Any]:
        """Answer."""
        return {"name": "cluster.example.com"}

    async def config_values(self, fields: list[str]) -> list[Any]:
        """Answer what was asked."""
        return [field.upper() for field in fields]

    async def tags(self, kind: str, name: str) -> list[str]:
        """Answer what was asked."""
        return [kind, name]


class FakeTokens:
    """Makes tokens that open nothing. `meanwhile` is what happens while one is made."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = str
        self.withdrawn: list[str] = []
        self.are_followed: list[str] = []

    async def offer(
        self, name: str, *, readd: bool = False, secondary_ip: str | None = None, group: str | None = None
    ) -> Offer:
        """Make one."""
        self.meanwhile()
        token = Token("192.0.2.1", 1816, "ab" * 32, b"0" * 20)
        return Offer("id", name, "192.0.2.2", ("192.0.2.2",), f"{group}-{readd}", token, 22, 1600.0)

    async def wait(self, identity: str, seconds: float) -> Mapping[str, Any]:
        """Say what was asked."""
        return {"state": f"{identity} {seconds:g}"}

    def withdraw(self, identity: str) -> Mapping[str, Any]:
        """Say what was asked."""
        self.withdrawn.append(identity)
        return {"state": f"withdrawn {identity}"}

    def followed(self, name: str) -> None:
        """Note that the job is there."""
        self.are_followed.append(name)

    async def force_offline(self, name: str, confirmation: str) -> Mapping[str, Any]:
        """Say what was asked."""
        return {"forced": [name, confirmation]}


class Client(Protocol):
    """A client that reads messages."""

    def __init__(self) -> None:
        self.buffer = b""
        self.messages: list[Any] = []
        self.waiting: Deferred[None] | None = None
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Cut what arrives into messages."""
        *frames, self.buffer = (self.buffer + data).split(b"\x03")
        self.messages.extend(map(json.loads, frames))
        self.wake()

    def connectionLost(self, reason: Any = None) -> None:
        """Tell."""
        self.gone.callback(None)
        self.wake()

    def wake(self) -> None:
        """Tell who waits."""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.callback(None)

    def ask(self, method: str, *args: Any) -> None:
        """Send a request."""
        self.send(json.dumps({"method": method, "args": list(args)}).encode() + b"\x03")

    def send(self, data: bytes) -> None:
        """Send anything."""
        assert self.transport is not None
        self.transport.write(data)

    async def answer(self) -> Any:
        """Give the next answer."""
        while not self.messages:
            assert not self.gone.called, "the server closed the connection"
            self.waiting = Deferred()
            await self.waiting
        return self.messages.pop(0)

    async def call(self, method: str, *args: Any) -> Any:
        """Ask and give the answer."""
        self.ask(method, *args)
        return await self.answer()


OP = {"OP_ID": "OP_TEST_DELAY", "duration": 0}


class LuxiServerTests(TestCase):
    """One server for each test, in a directory with a short path."""

    timeout = 20

    def setUp(self) -> None:
        """Start a master with false queries and a false engine."""
        self.root = Path(tempfile.mkdtemp(prefix="gnt-luxi-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.brain = Brain().start()
        self.queries = FakeQueries()
        self.layout = Layout(self.root)
        self.tokens = FakeTokens()
        rules = FakeRules()
        methods = LuxiMethods(
            self.brain.queue,
            self.brain.locks,
            self.queries,
            self.tokens,
            filters=rules,
            pause=rules,
            plans=rules,
            forcing=self.tokens,
        )
        self.server = LuxiServer(methods, self.layout)
        self.server.start(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))
        self.clients: list[Client] = []

    async def tearDown(self) -> None:
        """Close all clients."""
        for client in self.clients:
            if not client.gone.called:
                client.transport.abortConnection()  # type: ignore[union-attr]
                await client.gone

    async def client(self, path: Path | None = None) -> Client:
        """Connect."""
        endpoint = UNIXClientEndpoint(reactor, os.fspath(path or self.layout.master_socket))
        client: Client = await endpoint.connect(Factory.forProtocol(Client))
        self.clients.append(client)
        return client

    async def test_both_sockets_serve_with_the_right_modes(self) -> None:
        """Clients of all versions find one; nobody outside the group does."""
        for path in (self.layout.master_socket, self.layout.query_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            client = await self.client(path)
            assert await client.call("QueryClusterInfo") == {
                "success": True,
                "result": {"name": "cluster.example.com"},
            }
        assert stat.S_IMODE(self.layout.socket_directory.stat().st_mode) == 0o750

    async def test_an_answer_is_sent_in_the_round_in_which_it_is_known(self) -> None:
        """A client that waits for a job to be durable need not wait for what else the master has to do."""
        self.brain.journal.hold = True
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.layout.master_socket))
            client.sendall(json.dumps({"method": "SubmitJob", "args": [[OP]]}).encode() + b"\x03")
            while not self.brain.journal.commits:
                await deferLater(reactor, 0.001)
            self.brain.journal.acknowledge()
            # This end blocks the reactor.
            assert json.loads(client.recv(1000).rstrip(b"\x03")) == {"success": True, "result": 1}

    async def test_a_job_from_submission_to_its_end(self) -> None:
        """As the clients of the field do it."""
        self.brain.engine.hold = True
        client = await self.client()
        assert await client.call("SubmitJob", [OP]) == {"success": True, "result": 1}
        info = await client.call("WaitForJobChange", 1, ["status"], None, None, 10)
        assert info == {"success": True, "result": [["running"], []]}
        client.ask("WaitForJobChange", "1", ["status"], ["running"], None, 10)
        self.brain.engine.runs[0].feedback("hello")
        assert (await client.answer())["result"] == [["running"], [[1, [1000, 0], "message", "hello"]]]
        client.ask("WaitForJobChange", 1, ["status"], ["running"], 1, 10)
        other = await self.client()
        assert (await other.call("QueryJobs", [1, 99], ["id", "status"]))["result"] == [[1, "running"], [99, None]]
        self.brain.engine.finish(1)
        assert (await client.answer())["result"] == [["success"], []]
        assert (await client.call("CancelJob", 1))["result"] == [False, "Job 1 is no longer waiting in the queue"]
        assert (await client.call("ArchiveJob", 1))["result"] is True

    async def test_the_blocking_client_of_the_commands_gets_along(self) -> None:
        """The other half of the codec."""

        def talk() -> None:
            with LuxiClient(self.layout.query_socket) as luxi:
                assert luxi.submit_job([delay()]) == 1
                assert luxi.submit_many_jobs([[delay()], []])[0] == (True, 2)
                change = luxi.wait_for_job_change(2, ["status"])
                assert change is not None
                assert change.info == ["success"]
                assert luxi.auto_archive_jobs(-1, 10) == (2, 0)
                luxi.set_drain_flag(drained=True)
                with pytest.raises(QueueDrained):
                    luxi.submit_job([delay()])
                assert luxi.submit_job([delay()], even_if_drained=True) == 3

        await deferToThread(talk)

    async def test_old_clients_pass_bare_arguments(self) -> None:
        """One parameter, not in a list."""
        client = await self.client()
        client.send(json.dumps({"method": "SubmitJob", "args": [OP]}).encode() + b"\n\x03")
        assert await client.answer() == {"success": True, "result": 1}
        client.send(b'{"method": "ArchiveJob", "args": 1}\x03')
        assert await client.answer() == {"success": True, "result": True}

    async def test_requests_of_a_connection_are_answered_in_turn(self) -> None:
        """However they arrive: in pieces, many at once."""
        client = await self.client()
        frames = b"".join(
            json.dumps({"method": "QueryTags", "args": ["node", str(n)]}).encode() + b"\x03" for n in range(5)
        )
        client.send(frames[:37])
        client.send(frames[37:])
        assert [(await client.answer())["result"][1] for _ in range(5)] == ["0", "1", "2", "3", "4"]

    async def test_connections_do_not_wait_for_each_other(self) -> None:
        """One waits, the other is answered; then the first."""
        self.queries.held["slow"] = Deferred()
        slow, quick = await self.client(), await self.client()
        slow.ask("Query", "slow", [], None)
        slow.ask("QueryTags", "cluster")
        assert (await quick.call("QueryTags", "cluster"))["result"] == ["cluster", ""]
        assert slow.messages == []
        self.queries.held["slow"].callback({"fields": [], "data": []})
        assert (await slow.answer())["result"]["data"] == []
        assert (await slow.answer())["result"] == ["cluster", ""]

    async def test_a_client_that_does_not_read_is_not_read_from(self) -> None:
        """Its answers do not pile up, others are served."""
        big = "x" * 1_000_000
        greedy = socket.socket(socket.AF_UNIX)
        self.addCleanup(greedy.close)
        greedy.connect(os.fspath(self.layout.master_socket))
        greedy.setblocking(False)
        asked = []
        original = self.queries.tags

        async def tags(kind: str, name: str) -> list[str]:
            asked.append(kind)
            return [big]

        self.queries.tags = tags  # type: ignore[method-assign]
        request = b'{"method": "QueryTags", "args": ["node", "n"]}\x03'
        greedy.send(request * 100)
        other = await self.client()
        for _ in range(20):
            await other.call("QueryClusterInfo")
        assert 0 < len(asked) < 10
        self.queries.tags = original  # type: ignore[method-assign]
        assert (await other.call("QueryTags", "node", "n"))["success"]

    async def test_a_client_that_goes_away_takes_its_wait_with_it(self) -> None:
        """No timer and no waiter is left; what it submitted goes on."""
        self.brain.engine.hold = True
        client = await self.client()
        await client.call("SubmitJob", [OP])
        client.ask("WaitForJobChange", 1, ["status"], ["running"], None, 50)
        other = await self.client()
        await other.call("QueryClusterInfo")
        assert len(self.brain.clock.getDelayedCalls()) == 1
        client.transport.abortConnection()  # type: ignore[union-attr]
        await client.gone
        while self.server.connections > 1:
            await other.call("QueryClusterInfo")
        assert self.brain.clock.getDelayedCalls() == []
        self.brain.engine.finish(1)
        assert self.brain.status(1) == "success"

    async def test_a_submission_goes_on_when_its_client_has_gone(self) -> None:
        """It was asked for, so it is done."""
        self.brain.journal.hold = True
        client = await self.client()
        client.ask("SubmitJob", [OP])
        other = await self.client()
        await other.call("QueryClusterInfo")
        client.transport.abortConnection()  # type: ignore[union-attr]
        while self.server.connections > 1:
            await other.call("QueryClusterInfo")
        self.brain.journal.acknowledge()
        assert [job.id for job in self.brain.queue] == [1]
        self.brain.journal.hold = False
        self.brain.journal.acknowledge()

    async def test_a_client_may_close_its_side_and_read_on(self) -> None:
        """As shell scripts do."""
        self.queries.held["slow"] = Deferred()
        client = await self.client()
        client.ask("Query", "slow", [], None)
        client.transport.loseWriteConnection()  # type: ignore[union-attr]
        other = await self.client()
        for _ in range(3):
            await other.call("QueryClusterInfo")
        self.queries.held["slow"].callback({"fields": [], "data": [["done"]]})
        assert (await client.answer())["result"]["data"] == [["done"]]
        await client.gone

    # Bad input

    async def test_errors_have_the_form_that_clients_know(self) -> None:
        """Class and arguments; code and hint beside them."""
        client = await self.client()
        self.queries.fault = Refused(UNKNOWN_ENTITY, "node9 is not a node of this cluster", hint="known nodes: node1")
        answer = await client.call("Query", "node", ["name"], None)
        assert answer["success"] is False
        assert answer["result"] == [
            "OpPrereqError",
            ["node9 is not a node of this cluster (known nodes: node1)", "unknown_entity"],
        ]
        answer = await client.call("WaitForJobChange", 7, ["status"], None, None, 1)
        assert answer["result"] == ["JobLost", ["Job 7 not found"]]

    async def test_an_unexpected_fault_is_one_line_for_the_client_and_a_traceback_for_the_log(self) -> None:
        """The text of the exception stays inside."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        client = await self.client()
        self.queries.fault = ZeroDivisionError("secret")
        answer = await client.call("Query", "node", ["name"], None)
        assert answer["result"].startswith("Caught exception: ZeroDivisionError")
        assert "secret" not in json.dumps(answer)
        assert any("secret" in str(event.get("log_failure", "")) for event in events)
        self.flushLoggedErrors(ZeroDivisionError)
        assert (await client.call("QueryClusterInfo"))["success"]

    async def test_what_cannot_be_read_is_refused_and_the_connection_goes_on(self) -> None:
        """Garbage, other JSON, too deep; in words."""
        client = await self.client()
        deep = b'{"method": "Query", "args": ["node", [], ' + b"[" * 100_000 + b"]" * 100_000 + b"]}"
        for frame in (b"garbage", b"[]", b'{"method": 5, "args": []}', b'{"args": []}', b"\xff\xfe", deep):
            client.send(frame + b"\x03")
            answer = await client.answer()
            assert answer["success"] is False
            assert answer["result"].startswith("Failed to parse request"), answer
        assert (await client.call("QueryClusterInfo"))["success"]

    async def test_methods_that_there_are_not(self) -> None:
        """Unknown ones, and one that belongs to another program."""
        client = await self.client()
        assert (await client.call("Nonsense"))["result"] == "Caught exception: Invalid operation 'Nonsense'"
        assert (await client.call("PickupJob", 7))["result"][0] == "GenericError"

    async def test_exports_as_rows(self) -> None:
        """Of all nodes or of those that are named; locks are not to be had."""
        client = await self.client()
        assert (await client.call("QueryExports", [], False))["result"] == [["export", [], ["node", "export"]]]
        assert (await client.call("QueryExports", ["node1"]))["result"] == [["export", ["node1"], ["node", "export"]]]
        for method, args in (
            ("QueryExports", ([], True)),
            ("QueryNodes", ([], ["name"], True)),
            ("QueryLocks", (["name"], True)),
        ):
            refused = await client.call(method, *args)
            assert refused["result"] == ["OpPrereqError", ["Sync queries are not allowed", "wrong_input"]], method

    async def test_arguments_of_the_wrong_kind_are_named(self) -> None:
        """Too few, too many, other types, numbers that are none."""
        client = await self.client()
        for method, args, words in [
            ("CancelJob", [], "CancelJob: Expected `array` of at least length 1"),
            ("CancelJob", [1, False, 3], "CancelJob: Expected `array` of"),
            ("SubmitJob", [["text"]], "SubmitJob: Expected `object`, got `str` - at `$[0][0]`"),
            ("ChangeJobPriority", [1, "high"], "ChangeJobPriority: Expected `int`, got `str` - at `$[1]`"),
            ("ArchiveJob", ["one"], "'one' is no job number"),
            ("ArchiveJob", [-1], "'-1' is no job number"),
            ("QueryNodes", [[], ["name"], True], "Sync queries are not allowed"),
            ("SubmitJob", [[{"OP_ID": "OP_NOPE"}]], "opcode 0: $.OP_ID: no opcode 'OP_NOPE'"),
            ("SubmitJob", [[OP, {**OP, "duration": "x"}]], "opcode 1: OP_TEST_DELAY: $.duration: expected float"),
        ]:
            answer = await client.call(method, *args)
            assert answer["success"] is False
            kind, (text, code) = answer["result"]
            assert (kind, code) == ("OpPrereqError", "wrong_input")
            assert text.startswith(words.replace("`", "")), text
        assert list(self.brain.queue) == []

    async def test_many_jobs_with_a_bad_one(self) -> None:
        """The others are taken."""
        client = await self.client()
        answer = await client.call("SubmitManyJobs", [[OP], [{"OP_ID": "OP_NOPE"}], [{**OP, "depends": [[-2, []]]}]])
        assert answer["result"][0] == [True, 1]
        assert answer["result"][1][0] is False
        assert answer["result"][2] == [True, 2]

    async def test_a_message_that_is_too_large_is_refused_and_the_daemon_goes_on(self) -> None:
        """The client comes to reading why."""
        self.patch(luxi_server, "MAX_REQUEST", 1000)
        client = await self.client()
        client.send(b'{"method": "' + b"x" * 5000)
        client.send(b"x" * 5000 + b'"}\x03')
        answer = await client.answer()
        assert answer["success"] is False
        assert "more than 1000 bytes" in json.dumps(answer)
        await client.gone
        assert (await (await self.client()).call("QueryClusterInfo"))["success"]

    async def test_a_message_without_end_is_cut_off(self) -> None:
        """A client that sends forever does not eat the memory."""
        self.patch(luxi_server, "MAX_REQUEST", 1000)
        self.patch(luxi_server, "MOST_DISCARDED", 5000)
        client = await self.client()
        client.send(b"x" * 20_000)
        assert (await client.answer())["success"] is False
        await client.gone

    async def test_a_thousand_idle_clients_are_carried(self) -> None:
        """They cost nothing: one that works beside them is answered as ever, and they themselves afterwards."""
        allow_many()
        idle = [await self.client() for _ in range(1000)]
        assert (await (await self.client()).call("QueryClusterInfo"))["success"]
        assert self.server.connections == 1001
        for client in (idle[0], idle[500], idle[-1]):
            assert (await client.call("QueryClusterInfo"))["success"]

    async def test_too_many_clients_are_told_so(self) -> None:
        """Those that are there are served on."""
        self.patch(luxi_server, "MOST_CONNECTIONS", 1)
        first = await self.client()
        await first.call("QueryClusterInfo")
        second = await self.client()
        assert "too many clients" in json.dumps(await second.answer())
        await second.gone
        assert (await first.call("QueryClusterInfo"))["success"]

    async def test_a_client_that_says_nothing_holds_up_nobody(self) -> None:
        """Nor one that stops in the middle of a message."""
        await self.client()
        (await self.client()).send(b'{"method": "Que')
        assert (await (await self.client()).call("QueryClusterInfo"))["success"]

    # Explaining

    async def test_a_waiting_job_can_be_explained(self) -> None:
        """What it waits for, who has it, its place; jobs it depends on."""
        self.brain.engine.hold = True
        client = await self.client()
        op = test_opcodes.TestDelay(duration=0, comment="node/a!")
        for depends in ((), (), ((1, ()),)):
            self.brain.submit(op if not depends else delay(depends=depends))
        assert (await client.call("ExplainJob", 1))["result"] is None
        told = {"locks": ["node/a"], "holders": ["Job1/TEST_DELAY"], "ahead": [], "place": 1, "jobs": [], "held": ""}
        assert (await client.call("ExplainJob", 2))["result"] == told
        assert (await client.call("ExplainJob", 3))["result"]["jobs"] == [1]
        assert (await client.call("ExplainJob", 9))["result"][0] == "JobLost"

    async def test_tokens_for_new_nodes(self) -> None:
        """Made, waited for, withdrawn; options by name."""
        client = await self.client()
        assert (await client.call("ForceOffline", "node2"))["result"] == {"forced": ["node2", ""]}
        answer = (await client.call("OfferToken", "node2", {"group": "g", "readd": True}))["result"]
        assert parse_token(answer["token"]).port == answer["port"] == 1816
        assert (answer["name"], answer["uuid"], answer["ends"]) == ("node2", "g-True", 1600.0)
        assert (await client.call("WaitForToken", "id", 500))["result"] == {"state": "id 89"}
        assert (await client.call("WithdrawToken", "id"))["result"] == {"state": "withdrawn id"}
        assert (await client.call("OfferToken", "node2", {"grup": "g"}))["success"] is False

    async def test_a_node_that_is_being_added_gets_no_second_token(self) -> None:
        """It would get another identity than the one that the job records; other nodes do, and it when that is over."""
        self.brain.engine.hold = True
        client = await self.client()
        self.brain.submit(test_opcodes.TestDelay(duration=0, comment="node/a!"))
        self.brain.submit(node_opcodes.NodeAdd(node_name="node2", comment="node/a!"), delay())
        refused = await client.call("OfferToken", "node2", {})
        assert refused["success"] is False
        assert "Job 2 is adding node2 already" in str(refused["result"])
        assert (await client.call("OfferToken", "node3", {}))["success"]
        await client.call("CancelJob", 2)
        assert (await client.call("OfferToken", "node2", {}))["success"]

    async def test_a_job_that_comes_while_a_token_is_made_makes_it_worthless(self) -> None:
        """Looked at before only, both would get what they ask for."""
        self.brain.engine.hold = True
        client = await self.client()
        self.tokens.meanwhile = lambda: self.brain.submit(node_opcodes.NodeAdd(node_name="node2"))
        refused = await client.call("OfferToken", "node2", {})
        assert "Job 1 is adding node2 already" in str(refused["result"])
        assert self.tokens.withdrawn == ["id"]

    async def test_the_job_that_adds_a_node_is_told_of(self) -> None:
        """So nobody waits for it any more."""
        client = await self.client()
        self.brain.engine.hold = True
        await client.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 0}])
        await client.call("SubmitJob", [{"OP_ID": "OP_NODE_ADD", "node_name": "node2"}])
        await client.call("SubmitJobToDrainedQueue", [{"OP_ID": "OP_NODE_ADD", "node_name": "node3"}])
        assert self.tokens.are_followed == ["node2", "node3"]

    # Where it listens

    async def test_a_second_daemon_does_not_take_the_sockets(self) -> None:
        """The first one goes on."""
        second = LuxiServer(self.server.methods, self.layout)
        with pytest.raises(Refused, match="another master daemon listens"):
            second.start(reactor)
        assert (await (await self.client()).call("QueryClusterInfo"))["success"]

    async def test_a_socket_that_was_left_behind_is_replaced(self) -> None:
        """Nobody listens there any more."""
        layout = Layout(self.root / "b")
        layout.socket_directory.mkdir(parents=True)
        left = socket.socket(socket.AF_UNIX)
        left.bind(os.fspath(layout.master_socket))
        left.close()
        server = LuxiServer(self.server.methods, layout)
        server.start(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        assert (await (await self.client(layout.master_socket)).call("QueryClusterInfo"))["success"]

    def test_a_file_in_the_way_is_not_removed(self) -> None:
        """It is named."""
        layout = Layout(self.root / "c")
        layout.socket_directory.mkdir(parents=True)
        layout.master_socket.write_text("mine")
        with pytest.raises(Refused, match="is in the way"):
            LuxiServer(self.server.methods, layout).start(reactor)
        assert layout.master_socket.read_text() == "mine"

    def test_a_path_over_the_limit_is_refused_in_words(self) -> None:
        """With the limit and the way out, and before anything is made."""
        layout = Layout(self.root / ("long" * 30))
        with pytest.raises(Refused, match="the system allows 107") as refused:
            LuxiServer(self.server.methods, layout).start(reactor)
        assert "GNT_ROOTDIR" in refused.value.hint
        assert not layout.root.exists()
