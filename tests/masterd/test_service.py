"""The master daemon as a whole, over nodes in memory and a false clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from gnt.masterd.departure import PATIENCE
from gnt.masterd.jobs.processor import BREATH
from gnt.masterd.operation import OPERATIONS
from gnt.masterd.service import STOP_WAIT, MasterDaemon, Providers
from gnt.model.errors import ConfigError, Failed, Refused, StaleEpoch
from gnt.model.layout import Layout
from gnt.opcodes import test as test_opcodes
from gnt.store.changes import Entry, Put, Space
from gnt.store.vault import IN_USE
from gnt.wire.calls import Delay
from gnt.wire.envelope import Request as NodeRequest
from gnt.wire.luxi import Request
from tests.masterd.nodes_world import NodesWorld


class Master:
    """A master daemon that a test talks to as a LUXI client would."""

    def __init__(self, world: NodesWorld, host: str = "node-a") -> None:
        self.world = world
        self.deposed: list[StaleEpoch] = []
        providers = Providers(host=host, vault=world.vaults[host[-1]], connect=world.connect, listen=_no_listening)
        self.daemon = MasterDaemon(world.runtime, Layout(Path("/nowhere")), providers, self.deposed.append)

    def start(self) -> Master:
        """Start; raises what the start raised."""
        self.done(self.daemon.start())
        return self

    def stop(self) -> None:
        """Stop in order."""
        self.done(self.daemon.stop())

    def ask(self, method: str, *args: Any) -> Any:
        """Ask and give the answer, as it looks after its way over the wire."""
        answer = self.done(self.daemon.methods.call(Request(method=method, args=list(args))))
        return msgspec.json.decode(msgspec.json.encode(answer))

    def done(self, coroutine: Any) -> Any:
        """Let what is asked come to its end without the clock's help."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
        self.world.turn()
        assert outcome, "it still waits"
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def submit(self, seconds: float, **common: Any) -> int:
        """Submit a job that waits on the master, and let it be started."""
        op = {"OP_ID": "OP_TEST_DELAY", "duration": seconds, **common}
        number: int = self.ask("SubmitJob", [op])
        self.world.turn(BREATH)
        return number

    def status(self, number: int) -> str:
        """Give the status of a job, once its end has let nothing more come with it."""
        self.world.turn(PATIENCE)
        [[status]] = self.ask("QueryJobs", [number], ["status"])
        return str(status)


def _no_listening(_address: str, _port: int, _factory: object) -> Any:
    raise AssertionError("no token was asked for")


@pytest.fixture
def world() -> NodesWorld:
    """Give a cluster of one node."""
    return NodesWorld("a")


def test_a_job_goes_its_way(world: NodesWorld) -> None:
    """From LUXI through queue, locks, engine and journal, and back."""
    master = Master(world).start()
    number = master.submit(5)
    assert (number, master.status(number)) == (1, "running")
    world.turn(5)
    assert master.status(number) == "success"
    assert master.ask("Query", "job", ["id", "status"], None)["data"] == [[[0, 1], [0, "success"]]]
    assert master.ask("QueryClusterInfo")["name"] == "cluster.example.com"
    master.stop()


def test_jobs_drain_flag_and_numbers_survive_a_restart(world: NodesWorld) -> None:
    """What was acknowledged is there again."""
    master = Master(world).start()
    master.submit(0)
    world.turn(1)
    assert master.ask("ArchiveJob", 1) is True
    master.submit(0)
    world.turn(1)
    assert master.ask("SetDrainFlag", True) is True
    master.stop()
    again = Master(world).start()
    assert again.ask("QueryJobs", None, ["id", "status", "archived"]) == [[1, "success", True], [2, "success", False]]
    with pytest.raises(Exception, match="drained"):
        again.submit(0)
    again.ask("SetDrainFlag", False)
    assert again.submit(0) == 3
    again.stop()


def test_a_stop_leaves_a_pause_for_the_next_start(world: NodesWorld) -> None:
    """Nobody waits for a delay to end; nothing of the job was recorded, so it begins again."""
    master = Master(world).start()
    number = master.submit(1000)
    master.stop()
    again = Master(world).start()
    assert again.status(number) == "running"
    world.turn(1000)
    assert again.status(number) == "success"
    again.stop()


def test_a_stop_gives_up_waiting_for_what_runs_on(world: NodesWorld) -> None:
    """A node that takes its time does not hold up the end for ever; the next start settles the job."""
    master = Master(world).start()
    plain = world.nodes["a"].serve

    async def serve(request: NodeRequest) -> Any:
        return await (Deferred() if isinstance(request.call, Delay) else plain(request))

    world.nodes["a"].serve = serve  # type: ignore[method-assign]
    number = master.submit(1000, on_master=False, on_nodes=["a"])
    stopping = Deferred.fromCoroutine(master.daemon.stop())
    world.turn()
    assert not stopping.called
    world.turn(STOP_WAIT)
    assert stopping.called
    world.nodes["a"].serve = plain  # type: ignore[method-assign]
    again = Master(world).start()
    world.turn(1)
    assert again.status(number) == "error"
    again.stop()


def test_a_stopped_daemon_lets_the_store_go(world: NodesWorld) -> None:
    """And takes no timer with it."""
    master = Master(world).start()
    with pytest.raises(ConfigError) as refused:
        world.vaults["a"].hold("gnt-noded")
    assert refused.value.code == IN_USE
    master.stop()
    world.vaults["a"].hold("gnt-noded")
    world.vaults["a"].release()
    assert world.clock.getDelayedCalls() == []
    Master(world).start().stop()


def test_a_node_that_is_not_the_master_does_not_start() -> None:
    """It is told who is."""
    world = NodesWorld("ab")
    with pytest.raises(Failed, match="node-b is not the master, node-a is"):
        Master(world, "node-b").start()


def test_a_newer_master_is_reported() -> None:
    """So that the daemon ends; the job that was under way is not told to have ended."""
    world = NodesWorld("abc")
    master = Master(world).start()
    number = master.submit(5)
    master.daemon.parts.queue._commits.deposed(StaleEpoch("node-b follows 9@z"))  # type: ignore[attr-defined]
    world.turn(5)
    assert [error.code for error in master.deposed] == ["stale_epoch"]
    assert master.status(number) == "running"
    master.stop()


def test_a_bad_request_is_refused_and_the_rest_goes_on(world: NodesWorld) -> None:
    """One line, with the place of the fault."""
    master = Master(world).start()
    with pytest.raises(Exception, match="expected float") as refused:
        master.submit("long")  # type: ignore[arg-type]
    assert refused.value.code == "wrong_input"  # type: ignore[attr-defined]
    assert master.submit(0) == 1
    master.stop()


def test_secrets_of_a_job_leave_the_store_with_it(world: NodesWorld) -> None:
    """They are in rows of their own while it lives, nowhere else."""
    master = Master(world).start()
    op = test_opcodes.TestOsParams(osparams_secret={"password": "hunter2"})
    blocker = master.submit(10)
    assert blocker == 1
    number = master.done(master.daemon.parts.queue.submit([op]))
    world.turn(20)
    assert master.status(number) == "error"
    database = world.vaults["a"].open()
    assert database.rows(Space.SECRET) == []
    assert not any(b"hunter2" in row.value for row in database.jobs())
    master.stop()


def test_the_history_of_jobs_is_in_the_log(world: NodesWorld) -> None:
    """Each change of a job is an entry that candidates apply."""
    master = Master(world).start()
    master.submit(0)
    world.turn(1)
    database = world.vaults["a"].open()
    entries = database.entries_after(database.base, 1 << 20)
    assert entries is not None
    rows = [change for entry in entries if isinstance(entry, Entry) for change in entry.changes]
    stored = [change for change in rows if isinstance(change, Put) and change.space is Space.JOB]
    assert [msgspec.json.decode(change.value)["ops"][0]["status"] for change in stored][-1] == "success"
    master.stop()


def test_what_it_carries_out_can_be_asked(world: NodesWorld) -> None:
    """Exactly the opcodes that have an operation, so that faces refuse the others before there is a job."""
    master = Master(world).start()
    found = master.ask("Abilities")
    assert found == {"opcodes": sorted(opcode.op_id() for opcode in OPERATIONS)}
    assert "OP_INSTANCE_CREATE" in found["opcodes"]
    with pytest.raises(Refused, match="takes no arguments"):
        master.ask("Abilities", 1)
    master.stop()
