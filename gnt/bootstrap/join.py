"""Joining a cluster: the new node proves its token, gets a certificate for the key it made, starts its daemon.

The key never leaves this machine. What is made is unmade, in reverse, when a later step fails, and the master is told
either way, so that it records only a node that is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import msgspec

import gnt
from gnt.bootstrap.daemons import MASTERD, NODED, RAPI, Daemons
from gnt.bootstrap.join_talk import Conversation
from gnt.bootstrap.this_node import (
    NODED_PORT,
    PUBLIC,
    SECRET,
    allow_storage,
    keep,
    make_tree,
    own_address,
    put,
    put_membership,
    put_ssconf,
    refuse_busy_port,
    storage_places,
)
from gnt.daemon.foreign import refuse_foreign
from gnt.model.errors import ENVIRONMENT, WRONG_STATE, ConfigError, Failed, GntError, Refused
from gnt.model.layout import Layout
from gnt.model.names import check_name
from gnt.model.ssconf import KEYS
from gnt.wire import certificates
from gnt.wire.calls import Membership
from gnt.wire.joining import PROTOCOL, JoinAnswer, JoinRequest, Token, parse_token

_STORAGE: Final = ("file_storage_dir", "shared_file_storage_dir")


class JoinCommand(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-node join` hands over. `readd`: replace what an earlier membership of the same cluster left."""

    token: str
    readd: bool = False

    def __repr__(self) -> str:
        return f"JoinCommand(<redacted>, readd={self.readd})"


class NodeJoin:
    """Makes this machine a node of the cluster whose master made the token; `say` tells what is being done."""

    def __init__(
        self,
        command: JoinCommand,
        layout: Layout,
        host: str,
        say: Callable[[str], None],
        *,
        daemons: Daemons | None = None,
        talk: Callable[[Token], Conversation] = Conversation,
        check_port: Callable[[str], None] = refuse_busy_port,
    ) -> None:
        self._command = command
        self._layout = layout
        self._host = host
        self._say = say
        self._daemons = daemons or Daemons(layout, os.environ)
        self._talk = talk
        self._check_port = check_port

    def run(self) -> dict[str, Any]:
        """Check, ask, write, start. Raises `Refused` before anything is made, `GntError` after all was unmade."""
        token = parse_token(self._command.token)
        name = check_name(self._host, "node")
        refuse_foreign(self._layout)
        former = self._former()
        self._daemons.refuse_long_sockets()
        address = own_address(self._layout, name)
        if self._daemons.pid(NODED) is None:
            self._check_port(address)
        key = certificates.make_key()
        request = certificates.make_request(key, name)
        self._say(f"asking the master at {token.address} port {token.port}")
        with self._talk(token) as master:
            answer = master.ask(
                JoinRequest(
                    protocol=PROTOCOL, name=name, address=address, request=request.decode(), release=gnt.__version__
                )
            )
            try:
                self._check(answer, key, name, master.master_certificate, former)
                with ExitStack() as undo:
                    self._write(undo, answer, key)
                    self._start(undo, address)
                    # Until the master has noted that we are there, we are not.
                    master.end("")
                    undo.pop_all()
            except BaseException as error:
                self._tell(master, error)
                raise
        member = answer.membership
        return {"cluster": member.cluster_name, "node": name, "uuid": member.node_uuid}

    # Checks

    def _former(self) -> Membership | None:
        """Give the membership that is to be replaced; refuses one that is not, and what is more than a node."""
        layout = self._layout
        for daemon in (MASTERD, RAPI):
            if self._daemons.pid(daemon) is not None:
                raise Refused(
                    WRONG_STATE, f"{daemon} runs here: this is a master", hint="a master cannot join another cluster"
                )
        paths = [path for path in (layout.membership, layout.node_pem, layout.config_db) if path.exists()]
        if not paths:
            return None
        if not self._command.readd:
            raise Refused(
                WRONG_STATE,
                f"This node belongs to a cluster already: {paths[0]} exists",
                hint="gnt-node join --readd takes it back into the same cluster",
            )
        try:
            return msgspec.json.decode(layout.membership.read_bytes(), type=Membership)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{layout.membership} is damaged: {error}", hint="remove it if this node is in no other cluster"
            ) from None

    def _check(self, answer: JoinAnswer, key: bytes, name: str, master: bytes, former: Membership | None) -> None:
        """See that what came is what was asked for, before anything of it is written."""
        member = answer.membership
        if former is not None and former.cluster_uuid != member.cluster_uuid:
            raise Refused(
                WRONG_STATE,
                f"This node belongs to the cluster {former.cluster_name}, and the token is for {member.cluster_name}",
                hint="gnt-node remove on its master first",
            )
        if former is None and self._command.readd and self._layout.authority_certificate.exists():
            self._same_authority(answer)
        if member.node_name != name:
            raise Refused(ENVIRONMENT, f"the master has made a certificate for {member.node_name}, this is {name}")
        authority = answer.authority.encode()
        # Who showed the certificate that the token names must be of the cluster that we are to trust.
        certificates.check_signed(master, authority)
        certificates.check_signed(answer.certificate.encode(), authority)
        certificates.split_identity(key + answer.certificate.encode(), "the master's answer")
        unknown = sorted(set(answer.files) - set(KEYS))
        if unknown:
            raise Refused(ENVIRONMENT, f"the master sent a file that no node has: ssconf_{unknown[0][:40]}")

    def _same_authority(self, answer: JoinAnswer) -> None:
        """Refuse another cluster's authority where only certificates say which cluster this was."""
        known = certificates.bundle(self._layout.authority_certificate.read_bytes())
        if not set(known) & set(certificates.bundle(answer.authority.encode())):
            raise Refused(
                WRONG_STATE,
                f"{self._layout.authority_certificate} is another cluster's",
                hint="move it away if this node is in no other cluster",
            )

    # Making

    def _write(self, undo: ExitStack, answer: JoinAnswer, key: bytes) -> None:
        layout = self._layout
        if self._daemons.pid(NODED) is not None:
            self._say(f"ending {NODED}")
            undo.callback(self._start_again)
            self._daemons.stop(NODED)
        self._say("writing certificates and what the cluster is")
        storage = storage_places(layout, *(answer.files.get(name, "").strip() for name in _STORAGE))
        make_tree(undo, layout, storage)
        allow_storage(undo, layout, storage, self._say)
        identity = certificates.Identity(answer.certificate.encode(), key)
        put(undo, layout.authority_certificate, answer.authority.encode(), PUBLIC)
        put(undo, layout.node_pem, identity.pem(), SECRET)
        # It comes back as a regular node: the authority's key is for candidates, and is given when it is made one.
        for path in (layout.authority_key, layout.config_data):
            keep(undo, path)
            path.unlink(missing_ok=True)
        if self._knows_newer(answer.membership):
            return
        put_ssconf(undo, layout, answer.files)
        # Last: with it the node belongs.
        put_membership(undo, layout, answer.membership)

    def _knows_newer(self, membership: Membership) -> bool:
        """Say whether the daemon that ran until now was told, while we asked, what is newer than what we were given.

        Told by this master in this term, who would not tell it again: it has acknowledged who the candidates are.
        """
        try:
            known = msgspec.json.decode(self._layout.membership.read_bytes(), type=Membership)
        except FileNotFoundError:
            return False
        same = (known.cluster_uuid, known.node_uuid) == (membership.cluster_uuid, membership.node_uuid)
        return same and known.position.epoch == membership.position.epoch and known.position > membership.position

    def _start(self, undo: ExitStack, address: str) -> None:
        self._say(f"starting {NODED}")
        undo.callback(self._stop)
        self._daemons.start(NODED)
        self._daemons.wait_for_noded(address, NODED_PORT)

    def _stop(self) -> None:
        try:
            self._daemons.stop(NODED)
        except Failed as error:
            self._say(error.text)

    def _start_again(self) -> None:
        try:
            self._daemons.start(NODED)
        except Failed as error:
            self._say(error.text)

    def _tell(self, master: Conversation, error: BaseException) -> None:
        """Tell the master why this node did not join; it may be gone itself."""
        text = error.text if isinstance(error, GntError) else str(error) or "it was interrupted there"
        try:
            master.end(text)
        except GntError as problem:
            self._say(f"the master was not told: {problem.text}")
