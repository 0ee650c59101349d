"""Making a simulated cluster: the real `gnt-cluster init` and the real `gnt-node join`, on simulated machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from twisted.internet.defer import Deferred

from gnt.bootstrap.backup import BackupRequest, backup
from gnt.bootstrap.backup_file import Backup
from gnt.bootstrap.daemons import ALL, MASTERD, NODED, START_TIME, STOP_TIME, Daemons
from gnt.bootstrap.failover import ASK_TIME, Asking, Failover, FailoverRequest, Reached
from gnt.bootstrap.init import ClusterInit, InitRequest
from gnt.bootstrap.join import JoinCommand, NodeJoin
from gnt.bootstrap.join_talk import Conversation
from gnt.bootstrap.restore import Restore, RestoreRequest
from gnt.masterd.join_port import Offer
from gnt.masterd.service import MasterDaemon
from gnt.model.errors import ENVIRONMENT, Failed, GntError, NodeFailure, NotReached, Refused
from gnt.model.objects import Node
from gnt.sim.client import Client
from gnt.sim.lives import MasterdLife, NodedLife
from gnt.sim.machine import SimNode
from gnt.sim.world import CLUSTER, SimWorld
from gnt.store.vault import IN_USE
from gnt.wire import certificates
from gnt.wire.calls import NodeCall, Rights, StopMaster
from gnt.wire.contract import Caller
from gnt.wire.envelope import Answer, Request
from gnt.wire.joining import NODE, JoinAnswer, JoinRequest, Seal, Sealed, Token, decode
from gnt.wire.log_calls import AskLog

R = TypeVar("R")

BACKUP = "backup.tar"
VOLUME_GROUP = "xenvg"
_CHANNEL = b"a channel that nobody listens to"


class SimDaemons(Daemons):
    """The daemons of a simulated machine; while the world goes on, its caller waits. `gnt-rapi` is none of them."""

    def __init__(self, node: SimNode) -> None:
        super().__init__(node.layout, {})
        self._node = node

    def start(self, name: str) -> None:
        """Start a daemon."""
        if name == NODED:
            self._node.start_noded()
        elif name == MASTERD:
            self._node.start_masterd()

    def start_all(self) -> None:
        """Start them; time goes on when somebody waits for them."""
        for name in ALL:
            self.start(name)

    def stop(self, name: str) -> None:
        """End a daemon in order; it is not started again."""
        if name == MASTERD and self._node.masterd is None:
            self._node.wanted.discard(name)
            return
        self._node.wanted.discard(name)
        if name in {NODED, MASTERD}:
            stopping = self._node.stop_noded() if name == NODED else self._node.stop_masterd()
            self._node.world.forced(stopping, within=STOP_TIME)

    def pid(self, name: str) -> int | None:
        """Give 1 for a daemon that runs."""
        return 1 if self._life(name) is not None else None

    def wait_for_noded(self, address: str, port: int) -> None:  # noqa: ARG002  (as a real machine's)
        """Wait until the node daemon takes calls."""
        self._wait_for(NODED)

    def wait_for_masterd(self) -> None:
        """Wait until the master daemon answers."""
        self._wait_for(MASTERD)

    def refuse_long_sockets(self) -> None:
        """Take any root: there are no sockets."""

    def _life(self, name: str) -> NodedLife | MasterdLife | None:
        return {NODED: self._node.noded, MASTERD: self._node.masterd}.get(name)

    def _wait_for(self, name: str) -> None:
        life = self._life(name)
        if life is not None:
            self._node.world.drive(lambda: life.up or not life.clock.alive, within=START_TIME)
        if life is None or not life.up or not life.clock.alive:
            raise Failed(f"{name} has ended again")


class SimConversation(Conversation):
    """The talk of a new node with the master, in memory: the messages, seals and answers are the real ones."""

    def __init__(self, token: Token, world: SimWorld) -> None:
        super().__init__(token)
        self._world = world
        self._seal = Seal(token.secret, _CHANNEL)
        self._offer: Offer | None = None

    def __enter__(self) -> Self:
        life = self._world.master()
        if life is None:
            raise Refused(ENVIRONMENT, "the master does not answer")
        self._life = life
        path = next(node for node in self._world.nodes.values() if node.masterd is life).layout.node_pem
        self.master_certificate = certificates.load_identity(path).certificate
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def ask(self, request: JoinRequest) -> JoinAnswer:
        """Send what we are, get what makes us a node."""
        sealed = decode(self._seal.close(NODE, request), Sealed)
        taking = Deferred.fromCoroutine(self._daemon().parts.join_port.take(sealed, _CHANNEL))
        results: list[Any] = []
        taking.addBoth(results.append)
        self._world.drive(lambda: bool(results) or not self._life.clock.alive)
        if not results:
            raise Refused(ENVIRONMENT, "the master has closed the connection")
        if isinstance(results[0], tuple):
            self._offer, _, answer = results[0]
            found: JoinAnswer = answer
            return found
        raise results[0].value

    def end(self, problem: str) -> None:
        """Tell the master that we are ready, or what went wrong."""
        assert self._offer is not None  # noqa: S101  (there is no end without a beginning)
        self._daemon().parts.join_port.ended(self._offer, problem)

    def _daemon(self) -> MasterDaemon:
        if not self._life.clock.alive:
            raise Refused(ENVIRONMENT, "the master has closed the connection")
        return self._life.daemon


def init(world: SimWorld, name: str, pool: int | None = None) -> None:
    """Make a cluster on a machine, with a candidate pool of so many. Raises what the real init raises."""
    node = world.nodes[name]
    request = InitRequest(
        cluster_name=CLUSTER,
        enabled_hypervisors=["fake"],
        enabled_disk_templates=["sharedfile", "file", "diskless", "plain", "drbd", "thin", "qcow2"],
        vg_name=VOLUME_GROUP,
        master_netdev="br0",
        nicparams={"link": "br0"},
        shared_file_storage_dir=str(world.shared),
        candidate_pool_size=pool,
    )
    world.say(f"gnt-cluster init on {name}")
    making = ClusterInit(
        request,
        node.layout,
        name,
        lambda text: world.say(f"init: {text}"),
        daemons=SimDaemons(node),
        source=world.source("init"),
        now=world.clock.seconds,
        check_port=_any_port,
        find_group=lambda group: group == VOLUME_GROUP,
    )
    making.run()
    _keep_running(node, NODED, MASTERD)


def join(client: Client, name: str, *, readd: bool = False) -> bool:
    """Make a machine ready to be added: a token, a certificate, its daemon. Raises what the real ones raise."""
    world = client.world
    node = world.nodes[name]
    offer = client.ask("OfferToken", name, {"readd": readd})
    world.say(f"gnt-node join on {name}")
    joining = NodeJoin(
        # As `gnt-node add` has it: what an earlier membership of this cluster has left is no obstacle.
        JoinCommand(token=offer["token"], readd=True),
        node.layout,
        name,
        lambda text: world.say(f"join: {text}"),
        daemons=SimDaemons(node),
        talk=lambda token: SimConversation(token, world),
        check_port=_any_port,
    )
    joining.run()
    _keep_running(node, NODED)
    return True


def start_masterd(node: SimNode) -> bool:
    """Start the master daemon of a machine, and have it run from then on. Raises `Failed` if it ends again."""
    daemons = SimDaemons(node)
    node.world.say(f"gnt-masterd on {node.name}")
    daemons.start(MASTERD)
    daemons.wait_for_masterd()
    _keep_running(node, MASTERD)
    return True


def fail_over(world: SimWorld, name: str, *, no_voting: bool = False) -> bool:
    """Have a machine take over: the real `gnt-cluster master-failover`. Raises what that raises."""
    node = world.nodes[name]
    world.say(f"gnt-cluster master-failover{' --no-voting' if no_voting else ''} on {name}")
    Failover(
        FailoverRequest(no_voting=no_voting),
        node.layout,
        name,
        lambda text: world.say(f"failover: {text}"),
        asking=SimAsking(node),
        daemons=SimDaemons(node),
    ).run()
    _keep_running(node, MASTERD)
    return True


def back_up(node: SimNode) -> bool:
    """Take a backup on a machine: the real `gnt-cluster backup`. Raises what that raises."""
    target = node.layout.root / BACKUP
    target.unlink(missing_ok=True)
    request = BackupRequest(file=str(target))
    backup(request, node.layout, node.name, lambda text: node.world.say(f"backup: {text}"), now=node.time.seconds)
    Backup.read(target)
    return True


def restore(node: SimNode) -> bool:
    """Make a machine the master of the cluster as its last backup has it: the real `gnt-cluster restore`."""
    world = node.world
    world.say(f"gnt-cluster restore on {node.name}")
    Restore(
        RestoreRequest(file=str(node.layout.root / BACKUP), force=True),
        node.layout,
        node.name,
        lambda text: world.say(f"restore: {text}"),
        daemons=SimDaemons(node),
        source=world.source("restore"),
        now=node.time.seconds,
    ).run()
    _keep_running(node, NODED, MASTERD)
    return True


def whole_cluster(client: Client, names: Sequence[str], pool: int | None = None) -> None:
    """Make a cluster of all these machines, the first of them the master. Raises what init, join and add raise."""
    init(client.world, names[0], pool)
    for name in names[1:]:
        join(client, name)
        end = client.wait(client.submit([{"OP_ID": "OP_NODE_ADD", "node_name": name}]))
        if not end.good:
            raise Failed(f"{name} is not added: {end.results}")


class SimAsking(Asking):
    """Asks the candidates from a machine, over the simulated network."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self._world = node.world
        self._count = 0

    def survey(self, nodes: list[Node], enough: int) -> Mapping[str, Reached]:
        """Ask candidates whether they are there."""
        del enough
        found: dict[str, Reached] = {}
        for node in nodes:
            try:
                state = self._ask(node, AskLog(), ASK_TIME)
            except NodeFailure as failure:
                # The store of a living master is its own; that it says so is an answer.
                found[node.uuid] = Reached(problem="" if failure.code == IN_USE else failure.text)
            except GntError as error:
                found[node.uuid] = Reached(problem=error.text)
            else:
                found[node.uuid] = Reached(newest=state.end.serial)
        return found

    def rights(self, nodes: list[Node]) -> Mapping[str, str]:
        """Ask nodes whether they would take orders from this one."""
        found: dict[str, str] = {}
        for node in nodes:
            try:
                if not self._ask(node, Rights(), ASK_TIME):
                    found[node.uuid] = ""
            except GntError as error:
                found[node.uuid] = error.text
        return found

    def hand_over(self, node: Node, seconds: float) -> bool:
        """Have the master daemon of a node end."""
        return self._ask(node, StopMaster(), seconds)

    def _ask(self, node: Node, call: NodeCall[R], seconds: float) -> R:
        world, machine = self._world, self._node
        if not machine.powered:
            raise Failed(f"{machine.name} has no power")
        identity = certificates.load_identity(machine.layout.node_pem)
        caller = Caller(certificates.digest(identity.certificate), machine.name)
        link = world.network.link(caller, node.name, node.uuid)
        link.start()
        try:
            world.drive(lambda: link.connected, within=seconds, enough=True)
            if not link.connected:
                raise NotReached(f"no connection to {node.name}: {link.problem or 'no answer'}")
            self._count += 1
            request = Request(
                id=f"ask-{machine.name}-{world.clock.steps}-{self._count}", epoch=None, deadline=seconds, call=call
            )
            answer: Answer = world.forced(Deferred.fromCoroutine(link.call(request)))
            return answer.result(call)
        finally:
            link.stop()


def _keep_running(node: SimNode, *daemons: str) -> None:
    """Have daemons started again from now on; one that has died already too."""
    node.wanted.update(daemons)
    node.start_missing()


def _any_port(_address: str) -> None:
    """Find every port free: there are none."""
