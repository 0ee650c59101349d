"""Which cluster this node belongs to, and whose certificates may order changes: kept in one small file.

The door reads it for every connection, `Configure` replaces it; joining writes the first one, leaving removes it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gnt.daemon.files import remove_durably, write_atomically
from gnt.model.errors import ConfigError, GntError, NodeFailure
from gnt.model.layout import Layout
from gnt.wire import certificates
from gnt.wire.calls import Membership

MODE: Final = 0o600


class MembershipFile:
    """This node's membership. `current` is what is on disk, None before the node has joined; `load` first.

    Everything else blocks.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = layout.membership
        self._own = layout.node_pem
        # The digest of our certificate, and the file that it was read from.
        self._digest: tuple[tuple[int, int, int], str | None] | None = None
        self.current: Membership | None = None

    def load(self) -> Membership | None:
        """Read the file; raises `ConfigError` if it is damaged."""
        try:
            self.current = msgspec.json.decode(self._path.read_bytes(), type=Membership)
        except FileNotFoundError:
            self.current = None
        except (msgspec.DecodeError, OSError) as problem:
            raise ConfigError(
                f"{self._path} cannot be used: {problem}", hint="gnt-node add --readd writes it anew"
            ) from problem
        return self.current

    def is_news(self, membership: Membership) -> bool:
        """Say whether a membership is at least as new as ours. Raises `NodeFailure` if it is of another cluster."""
        known = self.current
        if known is None:
            return True
        if membership.cluster_uuid != known.cluster_uuid or membership.node_uuid != known.node_uuid:
            raise NodeFailure(
                "other_cluster",
                f"{known.node_name} belongs to the cluster {known.cluster_name} ({known.cluster_uuid}) as "
                f"{known.node_uuid}, not to {membership.cluster_name} ({membership.cluster_uuid}) as "
                f"{membership.node_uuid}",
                hint="take it out of its cluster first, with gnt-node remove there",
            )
        return membership.position >= known.position

    def store(self, membership: Membership) -> bool:
        """Store a membership unless a newer one is known; says whether it did."""
        if not self.is_news(membership):
            return False
        write_atomically(self._path, msgspec.json.encode(membership), MODE)
        self.current = membership
        return True

    def forget(self) -> None:
        """Belong to no cluster any more."""
        remove_durably(self._path)
        self.current = None

    def may_order(self, digest: str) -> bool:
        """Say whether the owner of a certificate (SHA-256 of its DER, lower-case hex) may order changes here.

        Candidates may, and this machine itself: a node that was made a candidate may be the master before word of
        that has come to its own node daemon, which would then never hear of it. What an old master orders here is
        refused by its epoch all the same.
        """
        known = self.current
        if known is None:
            return False
        return digest in {*known.candidates.values(), *known.renewed.values()} or digest == self._own_digest()

    def _own_digest(self) -> str | None:
        """Give the digest of this node's certificate as it is on disk; None if there is none that can be read.

        It is asked for with each order of somebody who is no candidate, and read again only where the file is another.
        """
        try:
            found = self._own.stat()
        except OSError:
            return None
        file = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._digest is None or self._digest[0] != file:
            try:
                self._digest = file, certificates.digest(certificates.load_identity(self._own).certificate)
            except GntError:
                self._digest = file, None
        return self._digest[1]
