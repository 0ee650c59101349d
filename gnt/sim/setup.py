"""Making a simulated cluster: the real `gnt-cluster init` and the real `gnt-node join`, on simulated machines."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from twisted.internet.defer import Deferred

from gnt.bootstrap.daemons import MASTERD, NODED, START_TIME, STOP_TIME, Daemons
from gnt.bootstrap.init import ClusterInit, InitRequest
from gnt.bootstrap.join import JoinCommand, NodeJoin
from gnt.bootstrap.join_talk import Conversation
from gnt.masterd.join_port import Offer
from gnt.masterd.service import MasterDaemon
from gnt.model.errors import ENVIRONMENT, Failed, Refused
from gnt.sim.client import Client
from gnt.sim.lives import MasterdLife, NodedLife
from gnt.sim.machine import SimNode
from gnt.sim.world import CLUSTER, SimWorld
from gnt.wire import certificates
from gnt.wire.joining import NODE, JoinAnswer, JoinRequest, Seal, Sealed, Token, decode

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

    def stop(self, name: str) -> None:
        """End a daemon in order; it is not started again."""
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


def init(world: SimWorld, name: str) -> None:
    """Make a cluster on a machine. Raises what the real init raises."""
    node = world.nodes[name]
    request = InitRequest(
        cluster_name=CLUSTER,
        enabled_hypervisors=["fake"],
        enabled_disk_templates=["sharedfile", "file", "diskless"],
        vg_name="",
        master_netdev="br0",
        nicparams={"link": "br0"},
        shared_file_storage_dir=str(world.shared),
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
    )
    making.run()
    _keep_running(node, NODED, MASTERD)


def join(client: Client, name: str) -> None:
    """Make a machine ready to be added: a token, a certificate, its daemon. Raises what the real ones raise."""
    world = client.world
    node = world.nodes[name]
    offer = client.ask("OfferToken", name, {})
    node.uuid = offer["uuid"]
    world.say(f"gnt-node join on {name}")
    joining = NodeJoin(
        JoinCommand(token=offer["token"]),
        node.layout,
        name,
        lambda text: world.say(f"join: {text}"),
        daemons=SimDaemons(node),
        talk=lambda token: SimConversation(token, world),
        check_port=_any_port,
    )
    joining.run()
    _keep_running(node, NODED)


def _keep_running(node: SimNode, *daemons: str) -> None:
    """Have daemons started again from now on; one that has died already too."""
    node.wanted.update(daemons)
    node.start_missing()


def _any_port(_address: str) -> None:
    """Find every port free: there are none."""
