"""The door for new nodes: open only while a token lives, see `gnt.wire.joining`.

A token is for one node, by name; it lives ten minutes, stands five wrong proofs, and works once. The port opens with
the first token and closes with the last. What a peer may send is bounded in size and time before it has proved
anything; what is not the protocol is dropped without counting.

    open -> joining -> joined | failed          open -> expired | spent | withdrawn
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from gnt.daemon.names import resolve
from gnt.daemon.runtime import Runtime
from gnt.masterd.join_talk import JoinConnection, JoinTls
from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import Position
from gnt.model.errors import (
    ALREADY_EXISTS,
    ENVIRONMENT,
    NOT_UNIQUE,
    UNKNOWN_ENTITY,
    WRONG_INPUT,
    WRONG_STATE,
    GntError,
    Refused,
)
from gnt.model.layout import Layout
from gnt.model.names import check_ip, check_name
from gnt.model.params import fill_group_nd
from gnt.model.ssconf import ssconf_files
from gnt.wire import certificates
from gnt.wire.calls import Membership
from gnt.wire.joining import (
    LIFE,
    NODE,
    PROTOCOL,
    SECRET_OCTETS,
    TRIES,
    JoinAnswer,
    JoinRequest,
    Seal,
    Sealed,
    Token,
    decode,
)
from gnt.wire.tls import NodeCredentials

log: Final = Logger()

PORT: Final = 1816
"""Where the master listens while a token lives, so that a firewall can know it; any other port if it is taken."""
POOL: Final = "join"
MOST_CONNECTIONS: Final = 20
FOLLOWED: Final = 30.0
"""Seconds after a node has joined in which the job that adds it is to come: until then nobody else may join for it."""
# What became of a token can be asked for so long after its end.
REMEMBERED: Final = 600.0

OPEN: Final = "open"
JOINING: Final = "joining"
JOINED: Final = "joined"
FAILED: Final = "failed"
EXPIRED: Final = "expired"
SPENT: Final = "spent"
WITHDRAWN: Final = "withdrawn"
LIVING: Final = frozenset({OPEN, JOINING})

Listen = Callable[[str, int, IProtocolFactory], IListeningPort]
"""Listens at an address and a port (0: any); raises `CannotListenError`."""


class Configuration(Protocol):
    """Where what is true now can be read; the journal is one."""

    @property
    def cluster(self) -> Cluster:
        """Give the committed configuration."""

    @property
    def position(self) -> Position:
        """Give the place in the log that it stands at."""


@dataclass
class Offer:
    """One token and what became of it. `ends` in seconds since the epoch; `digest` of the new certificate."""

    id: str
    name: str
    address: str
    addresses: tuple[str, ...]
    uuid: str
    token: Token
    ssh_port: int
    ends: float
    tries: int = 0
    state: str = OPEN
    problem: str = ""
    digest: str = ""
    timer: IDelayedCall | None = None
    awaits_job_until: float = 0.0
    waiting: list[Deferred[None]] = field(default_factory=list)

    def fate(self) -> dict[str, Any]:
        """Say what became of it."""
        return {
            "state": self.state,
            "uuid": self.uuid,
            "digest": self.digest,
            "tries": self.tries,
            "problem": self.problem,
        }


class JoinPort:
    """Makes tokens, and takes in the nodes that hold them. `stop` ends it."""

    def __init__(
        self,
        runtime: Runtime,
        layout: Layout,
        configuration: Configuration,
        release: str,
        listen: Listen,
        *,
        port: int = PORT,
    ) -> None:
        self._runtime = runtime
        self._layout = layout
        self._configuration = configuration
        self._release = release
        self._listen = listen
        self._wanted_port = port
        self._credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
        self._offers: dict[str, Offer] = {}
        self._listening: IListeningPort | None = None
        self._connections: set[JoinConnection] = set()
        self._stopped = False

    @property
    def is_open(self) -> bool:
        """Say whether somebody could connect."""
        return self._listening is not None

    # Tokens

    async def offer(
        self, name: str, *, readd: bool = False, secondary_ip: str | None = None, group: str | None = None
    ) -> Offer:
        """Make a token for a node, in place of an earlier one for it. Raises `Refused` as adding the node would."""
        cluster = self._configuration.cluster
        name = check_name(name, "node")
        uuid = _refuse_known(cluster, name, readd=readd) or self._runtime.uuid()
        nodes_group = cluster.group(group) if group is not None else None
        pool = self._runtime.pools(POOL)
        address = await pool.run(resolve, self._layout, name)
        addresses = tuple(dict.fromkeys([address, *([check_ip(secondary_ip)] if secondary_ip else [])]))
        digest = await pool.run(self._own_digest)
        older = [other for other in self._living() if other.name == name]
        if any(other.state == JOINING for other in older):
            raise Refused(WRONG_STATE, f"{name} is joining at this moment", hint="wait until it has ended")
        if any(other.name == name and self._runtime.now() < other.awaits_job_until for other in self._offers.values()):
            raise Refused(
                WRONG_STATE,
                f"{name} has joined a moment ago, and the job that adds it is about to come",
                hint="gnt-job list shows it; if nobody has it come, try again in half a minute",
            )
        if self._stopped:
            raise Refused(WRONG_STATE, "the master daemon is ending")
        where = cluster.master.primary_ip
        port = self._open(where)
        offer = Offer(
            id=self._runtime.uuid(),
            name=name,
            address=address,
            addresses=addresses,
            uuid=uuid,
            token=Token(where, port, digest, self._runtime.random.randbytes(SECRET_OCTETS)),
            ssh_port=int(fill_group_nd(cluster, nodes_group)["ssh_port"]),
            ends=self._runtime.now() + LIFE,
        )
        offer.timer = self._runtime.clock.callLater(LIFE, self._expire, offer)
        self._offers[offer.id] = offer
        for other in older:
            self._end(other, WITHDRAWN, f"there is a newer token for {name}")
        log.info("a token for {name}; its port is {port}", name=name, port=port)
        return offer

    async def wait(self, identity: str, seconds: float) -> Mapping[str, Any]:
        """Wait until a token has ended, at most that long; says what became of it so far. Raises `Refused`."""
        offer = self._offer(identity)
        if offer.state in LIVING and seconds > 0:
            waiting: Deferred[None] = Deferred(lambda this: offer.waiting.remove(this))  # noqa: PLW0108  (another list by then)
            offer.waiting.append(waiting)
            timer = self._runtime.clock.callLater(seconds, _leave, offer, waiting)
            try:
                await waiting
            finally:
                if timer.active():
                    timer.cancel()
        return offer.fate()

    def followed(self, name: str) -> None:
        """Hear that the job is there which adds a node."""
        for offer in self._offers.values():
            if offer.name == name.lower():
                offer.awaits_job_until = 0.0

    def withdraw(self, identity: str) -> Mapping[str, Any]:
        """Make a token worthless that nobody has used yet; says what became of it. Raises `Refused`."""
        offer = self._offer(identity)
        if offer.state == OPEN:
            self._end(offer, WITHDRAWN, f"nobody waits for {offer.name} any more")
        return offer.fate()

    async def stop(self) -> None:
        """End all tokens, drop whoever is connected, listen no more."""
        self._stopped = True
        for offer in self._living():
            self._end(offer, WITHDRAWN, "the master daemon has ended")
        for offer in self._offers.values():
            if offer.timer is not None and offer.timer.active():
                offer.timer.cancel()
        for connection in list(self._connections):
            connection.drop()
        await self._close()

    def _offer(self, identity: str) -> Offer:
        offer = self._offers.get(identity)
        if offer is None:
            raise Refused(UNKNOWN_ENTITY, "There is no such token", hint="gnt-node add --token NODE makes one")
        return offer

    def _living(self) -> list[Offer]:
        return [offer for offer in self._offers.values() if offer.state in LIVING]

    def _expire(self, offer: Offer) -> None:
        if offer.state == OPEN:
            self._end(offer, EXPIRED, f"the token for {offer.name} has expired")

    def _end(self, offer: Offer, state: str, problem: str = "") -> None:
        """End a token; with the last one the port closes."""
        if offer.state not in LIVING:
            return
        offer.state, offer.problem = state, problem
        log.info("the token for {name}: {state} {problem}", name=offer.name, state=state, problem=problem)
        if offer.timer is not None and offer.timer.active():
            offer.timer.cancel()
        offer.timer = self._runtime.clock.callLater(REMEMBERED, self._offers.pop, offer.id, None)
        waiting, offer.waiting = offer.waiting, []
        for one in waiting:
            one.callback(None)
        if not self._open_offers():
            closing = Deferred.fromCoroutine(self._close())
            closing.addErrback(lambda failure: log.failure("closing the join port", failure=failure))

    def _open_offers(self) -> list[Offer]:
        return [offer for offer in self._offers.values() if offer.state == OPEN]

    def _own_digest(self) -> str:
        """Give the digest of the certificate that the new node will see. Blocks."""
        self._credentials.check()
        if not self._layout.authority_key.exists():
            raise Refused(
                ENVIRONMENT,
                f"{self._layout.authority_key} is missing: this master cannot sign certificates",
                hint="gnt-cluster master-failover to a candidate that has it",
            )
        return certificates.digest(certificates.load_identity(self._layout.node_pem).certificate)

    # The port

    def _open(self, address: str) -> int:
        if self._listening is None:
            factory = Factory.forProtocol(lambda: JoinConnection(self._runtime, self))
            factory.noisy = False
            clock: Any = self._runtime.clock
            wrapped: Any = TLSMemoryBIOFactory(JoinTls(self._credentials), False, factory, clock)
            wrapped.noisy = False
            try:
                self._listening = self._listen(address, self._wanted_port, wrapped)
            except CannotListenError:
                try:
                    self._listening = self._listen(address, 0, wrapped)
                except CannotListenError as error:
                    raise Refused(ENVIRONMENT, f"cannot listen at {address}: {error.socketError}") from None
        port: int = self._listening.getHost().port  # type: ignore[attr-defined]  # an address with a port
        return port

    async def _close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            closed = listening.stopListening()
            if isinstance(closed, Deferred):
                await closed

    # What connections call

    def enter(self, connection: JoinConnection) -> bool:
        """Take a peer in; False if there are too many."""
        if len(self._connections) >= MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: JoinConnection) -> None:
        """Forget a peer that has gone."""
        self._connections.discard(connection)

    async def take(self, sealed: Sealed, channel: bytes) -> tuple[Offer, Seal, JoinAnswer]:
        """Check who comes, and sign. A wrong proof costs a try. Raises `Refused` with what the peer may know."""
        request = decode(sealed.body.encode(), JoinRequest)
        offer = self._prove(request.name, sealed, channel)
        seal = Seal(offer.token.secret, channel)
        seal.open(NODE, sealed, JoinRequest)
        offer.state = JOINING
        if not self._open_offers():
            await self._close()
        try:
            _refuse_unlike(request, offer, self._release)
            answer = await self._runtime.pools(POOL).run(self._sign, offer, request.request)
        except GntError as error:
            self._end(offer, FAILED, error.text)
            raise
        except BaseException:
            self._end(offer, FAILED, "an unexpected error on the master: see its log")
            raise
        if offer.state != JOINING:
            raise Refused(WRONG_STATE, offer.problem)
        return offer, seal, answer

    def ended(self, offer: Offer, problem: str) -> None:
        """Note how it ended on the new node: `problem` is empty when it is ready."""
        if not problem:
            offer.awaits_job_until = self._runtime.now() + FOLLOWED
        self._end(offer, FAILED if problem else JOINED, problem)

    def _prove(self, name: str, sealed: Sealed, channel: bytes) -> Offer:
        """Give the offer whose secret the peer has proved to hold; count what is wrong."""
        candidates = self._open_offers()
        named = [offer for offer in candidates if offer.name == name]
        for offer in named:
            if Seal(offer.token.secret, channel).fits(NODE, sealed):
                return offer
        # Who holds another's token is told so, and it costs that one a try; who holds none costs each one a try.
        held = [offer for offer in candidates if Seal(offer.token.secret, channel).fits(NODE, sealed)]
        for offer in held or named or candidates:
            offer.tries += 1
            if offer.tries >= TRIES:
                self._end(offer, SPENT, f"the token for {offer.name} died after {TRIES} wrong tries")
        again = "gnt-node add --token NODE on the master makes another"
        if held:
            raise Refused(WRONG_INPUT, f"the token was made for {held[0].name}, not for this node", hint=again)
        raise Refused(WRONG_INPUT, "the token is wrong, was used, or has expired", hint=again)

    def _sign(self, offer: Offer, request: str) -> JoinAnswer:
        """Sign what was asked for, and gather what a node has to know. Blocks."""
        cluster, position = self._configuration.cluster, self._configuration.position
        trusted = self._layout.authority_certificate.read_bytes()
        authority = certificates.signing_authority(trusted, self._layout.authority_key.read_bytes())
        signed = certificates.sign_node(
            authority,
            request.encode(),
            name=offer.name,
            uuid=offer.uuid,
            addresses=offer.addresses,
            now=self._runtime.now(),
            source=self._runtime.random,
        )
        offer.digest = certificates.digest(signed)
        known, renewed = cluster.settings.candidate_certs, cluster.settings.renewed_certs
        membership = Membership(
            cluster_name=cluster.settings.cluster_name,
            cluster_uuid=cluster.settings.uuid,
            node_uuid=offer.uuid,
            node_name=offer.name,
            position=position,
            candidates={uuid: known[uuid] for uuid in sorted(voters(cluster)) if uuid in known},
            renewed={uuid: renewed[uuid] for uuid in sorted(voters(cluster)) if uuid in renewed},
        )
        return JoinAnswer(
            certificate=signed.decode(),
            authority=trusted.decode(),
            membership=membership,
            files=ssconf_files(cluster, self._release),
        )


def _leave(offer: Offer, waiting: Deferred[None]) -> None:
    if waiting in offer.waiting:
        offer.waiting.remove(waiting)
        waiting.callback(None)


def _refuse_known(cluster: Cluster, name: str, *, readd: bool) -> str | None:
    """Refuse what `OP_NODE_ADD` would refuse; gives the UUID of a node that is taken back."""
    known = cluster.nodes.by_name(name)
    if readd:
        if known is None:
            raise Refused(UNKNOWN_ENTITY, f"{name} is not a node of this cluster", hint="add it without --readd")
        if known.uuid == cluster.settings.master_node:
            raise Refused(WRONG_STATE, f"{name} is the master and cannot be added again")
        return known.uuid
    if known is not None:
        raise Refused(ALREADY_EXISTS, f"Node {name} is already in the cluster", hint="--readd takes it in again")
    if cluster.instances.by_name(name) is not None or name == cluster.settings.cluster_name:
        raise Refused(NOT_UNIQUE, f"{name} is the name of an instance or of the cluster")
    return None


def _refuse_unlike(request: JoinRequest, offer: Offer, release: str) -> None:
    """Refuse a node that would not work in this cluster, before it gets a certificate."""
    if request.protocol != PROTOCOL:
        raise Refused(
            ENVIRONMENT,
            f"{offer.name} has release {request.release[:40]}, the master {release}",
            hint="install the same release on all nodes",
        )
    if request.address != offer.address:
        raise Refused(
            ENVIRONMENT,
            f"{offer.name} is {request.address[:60]} by its own name service, but {offer.address} by the master's",
            hint="make both say the same",
        )
