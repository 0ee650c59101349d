"""New certificates for the nodes, the authority and the remote API, while everything runs.

Nothing is stopped: what is new counts beside what is old until all nodes know it and use it, then the old goes. Keys
are made on the node that uses them and stay there; the authority's travels only to the other candidates, and stands in
no plan. Wherever this is cut off both generations count, and the same command begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.plan import Entrust, Forward, Keep, Note, Plan, Reconnect, Step, Tell, Together, Undoable, on
from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Failed, Refused, Unsupported
from gnt.model.names import nice_key
from gnt.model.objects import Node
from gnt.opcodes.cluster import ClusterRenewCrypto
from gnt.wire.calls import NodeVerify, VerifyFacts
from gnt.wire.certificate_calls import (
    AuthorityAdopt,
    AuthorityDistrust,
    AuthorityForget,
    AuthorityMake,
    AuthorityTrust,
    CertificateForget,
    CertificateInstall,
    CertificateRequest,
    CertificateSign,
    NewAuthority,
    RapiRenew,
)
from gnt.wire.certificates import bundle, digest, facts


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What the nodes use now, as digests, and the certificates (PEM) that were signed for them; both by UUID."""

    in_use: Mapping[str, str]
    signed: Mapping[str, str]


@executes(ClusterRenewCrypto)
class RenewCrypto(Operation[ClusterRenewCrypto]):
    """Renew what is asked for; nodes that are offline keep what they have, and are named."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep every node for ourselves."""
        del cluster
        self._refuse_unsupported()
        return Locks().every(Level.NODE, exclusive=True)

    def stages(self) -> Sequence[Stage]:
        """Give the stages of what is asked for; a new authority takes new certificates of all nodes along."""
        op = self.op
        found = [Stage(self.survey, self.begin)]
        if op.cluster_certificate:
            found.append(Stage(_new_authority, self.trust, "every node trusts the new authority, which then signs"))
        if op.cluster_certificate or op.node_certificates:
            found += [
                Stage(self.survey, self.request, "every node makes a key and a request"),
                Stage(_requests, self.sign, "the master signs the requests"),
                Stage(self.signed, self.announce, "every node is told of the certificates to come"),
                Stage(self.signed, self.install, "one node after the other uses its certificate, the master last"),
                Stage(self.signed, self.drop, "the former certificates count no more"),
            ]
        if op.cluster_certificate or op.rapi_certificate:
            found.append(Stage(_nothing, self.rapi, "the remote API of every candidate gets a certificate"))
        if op.rapi_certificate_given:
            found.append(Stage(_nothing, self.rapi_given, "every candidate gets the certificate that was given"))
        if op.cluster_certificate:
            found.append(Stage(_new_authority, self.distrust, "the former authority is trusted no more"))
        return found

    # What is seen

    async def survey(self, cluster: Cluster, look: Look) -> Mapping[str, str]:
        """Ask every online node for the digest of its certificate; one that is silent would be locked out."""
        answers = await look.ask_all({node.uuid: NodeVerify() for node in _online(cluster)})
        silent = [
            f"{cluster.nodes[uuid].name} ({answer})"
            for uuid, answer in answers.items()
            if not isinstance(answer, VerifyFacts)
        ]
        if silent:
            raise Refused(
                ENVIRONMENT,
                f"Every online node must take part; these do not answer: {', '.join(silent)}",
                hint="start their daemons, or flag them offline; the command can be repeated",
            )
        return {uuid: answer.certificate for uuid, answer in answers.items() if isinstance(answer, VerifyFacts)}

    async def signed(self, cluster: Cluster, look: Look) -> Renewed:
        """Look at what is in use, beside what was signed."""
        signed = {facts(text.encode()).names[1]: text for _, text in look.answers(CertificateSign)}
        return Renewed(in_use=await self.survey(cluster, look), signed=signed)

    # What is done

    def begin(self, cluster: Cluster, in_use: Mapping[str, str]) -> Plan:
        """Name the nodes that are left out. Connect anew: an earlier run may have been cut off after it installed."""
        del in_use
        left_out = [node.name for node in cluster.sorted_nodes() if node.offline]
        steps: list[Step] = [
            Note(f" - WARNING: {name} is offline and keeps its certificates: gnt-node add --readd takes it back")
            for name in left_out
            if self.op.cluster_certificate or self.op.node_certificates
        ]
        steps.append(Reconnect())
        if self.op.cluster_certificate:
            master = cluster.settings.master_node
            make = AuthorityMake(cluster_name=cluster.settings.cluster_name)
            steps += [
                Note("making a new authority"),
                Undoable(on(master, make), undo=on(master, AuthorityForget())),
            ]
        return Plan(tuple(steps))

    def trust(self, cluster: Cluster, made: NewAuthority) -> Plan:
        """Have all trust the new authority besides the old one, then have it sign; other candidates get its key."""
        fresh = digest(made.fresh.encode())
        trust = Together(
            tuple(
                Undoable(
                    on(node.uuid, AuthorityTrust(certificate=made.fresh)),
                    undo=on(node.uuid, AuthorityDistrust(digests=[fresh])),
                )
                for node in _online(cluster)
            )
        )
        master = cluster.settings.master_node
        adopt = Forward(on(master, AuthorityAdopt(digest=fresh)))
        others = tuple(Entrust(uuid) for uuid in sorted(voters(cluster) - {master}))
        return Plan((Note("every node trusts the new authority"), trust, adopt, *others))

    def request(self, cluster: Cluster, in_use: Mapping[str, str]) -> Plan:
        """Have every node make a key."""
        del in_use
        steps = tuple(
            Undoable(on(node.uuid, CertificateRequest()), undo=on(node.uuid, CertificateForget()))
            for node in _online(cluster)
        )
        return Plan((Note("every node makes a new key"), Together(steps)))

    def sign(self, cluster: Cluster, requests: Mapping[str, str]) -> Plan:
        """Sign what the nodes ask for, with the names and addresses that the model has."""
        steps = [
            Undoable(
                on(
                    cluster.settings.master_node,
                    CertificateSign(
                        request=request,
                        name=cluster.nodes[uuid].name,
                        uuid=uuid,
                        addresses=_addresses(cluster.nodes[uuid].primary_ip, cluster.nodes[uuid].secondary_ip),
                    ),
                ),
                undo=None,
            )
            for uuid, request in requests.items()
        ]
        return Plan(tuple(steps))

    def announce(self, cluster: Cluster, seen: Renewed) -> Plan:
        """Have both generations of the candidates' certificates count, and go on only when every node knows."""
        settings = replace(
            cluster.settings,
            candidate_certs={uuid: seen.in_use[uuid] for uuid in sorted(voters(cluster))},
            renewed_certs={uuid: digest(seen.signed[uuid].encode()) for uuid in sorted(voters(cluster))},
        )
        return Plan((Keep((settings,)), Tell()))

    def install(self, cluster: Cluster, seen: Renewed) -> Plan:
        """Have one node after the other use its new certificate; what one does not do the next stage finds."""
        master = cluster.settings.master_node
        nodes = [node for node in _online(cluster) if node.uuid != master] + [cluster.master]
        steps: list[Step] = []
        for node in nodes:
            install = CertificateInstall(certificate=seen.signed[node.uuid])
            steps += [
                Note(f"{node.name} uses its new certificate"),
                Forward(on(node.uuid, install), tolerant=True, owed=False),
            ]
        return Plan((*steps, Reconnect()))

    def drop(self, cluster: Cluster, seen: Renewed) -> Plan:
        """Let only the new ones count, once every node uses its own."""
        wanted = {uuid: digest(text.encode()) for uuid, text in seen.signed.items()}
        late = [cluster.nodes[uuid].name for uuid, one in wanted.items() if seen.in_use[uuid] != one]
        if late:
            raise Failed(
                f"{', '.join(late)} still uses the former certificate; both count for now",
                hint="gnt-cluster renew-crypto can be repeated",
            )
        settings = replace(
            cluster.settings,
            candidate_certs={uuid: wanted[uuid] for uuid in sorted(voters(cluster))},
            renewed_certs={},
        )
        return Plan((Keep((settings,)), Tell()))

    def rapi(self, cluster: Cluster, seen: object) -> Plan:
        """Have every candidate make a certificate of its own: each may have to serve the remote API."""
        del seen
        settings = cluster.settings
        steps = [
            Forward(
                on(
                    uuid,
                    RapiRenew(
                        cluster_name=settings.cluster_name,
                        names=[cluster.nodes[uuid].name],
                        addresses=_addresses(cluster.nodes[uuid].primary_ip, settings.master_ip),
                        own_only=not self.op.rapi_certificate,
                    ),
                )
            )
            for uuid in sorted(voters(cluster))
        ]
        return Plan((Note("the remote API gets a new certificate"), Together(tuple(steps))))

    def rapi_given(self, cluster: Cluster, seen: object) -> Plan:
        """Give the other candidates the certificate that an administrator has put on the master."""
        del seen
        others = sorted(voters(cluster) - {cluster.settings.master_node})
        return Plan(tuple(Entrust(uuid, rapi=True) for uuid in others))

    def distrust(self, cluster: Cluster, made: NewAuthority) -> Plan:
        """Let the former authority go; a node that is away meanwhile owes it."""
        former = [digest(one) for one in bundle(made.trusted.encode())]
        steps = tuple(
            Forward(on(node.uuid, AuthorityDistrust(digests=former)), tolerant=True) for node in _online(cluster)
        )
        return Plan((Note("the former authority is trusted no more"), Together(steps)))

    def _refuse_unsupported(self) -> None:
        op = self.op
        if op.renew_ssh_keys or op.ssh_key_type is not None or op.ssh_key_bits is not None:
            raise Unsupported("OP_CLUSTER_RENEW_CRYPTO: gnt has no SSH keys of its own, so it renews none")
        if op.rapi_certificate and op.rapi_certificate_given:
            raise Refused(WRONG_INPUT, "The remote API gets a new certificate or one that is given, not both")
        if not (op.node_certificates or op.cluster_certificate or op.rapi_certificate or op.rapi_certificate_given):
            raise Refused(
                WRONG_INPUT,
                "Nothing to renew was named",
                hint="--new-node-certificates, --new-cluster-certificate, --new-rapi-certificate",
            )


def _online(cluster: Cluster) -> list[Node]:
    return sorted((node for node in cluster.nodes.values() if not node.offline), key=lambda node: nice_key(node.name))


def _addresses(*addresses: str) -> list[str]:
    return sorted({address for address in addresses if address})


async def _nothing(_cluster: Cluster, _look: Look) -> None:
    """Look at nothing."""


async def _new_authority(_cluster: Cluster, look: Look) -> NewAuthority:
    """Give the authority that was made."""
    ((_, made),) = look.answers(AuthorityMake)
    return made


async def _requests(_cluster: Cluster, look: Look) -> Mapping[str, str]:
    """Give what the nodes ask for."""
    return dict(look.answers(CertificateRequest))
