"""Makes node calls in the name of the master, for the tests: started in the room, spoken to over its standard streams.

A line in: `{id, node, request}`, the request as `gnt.wire.envelope` encodes it (base64). A line out: `{id, answer}`.
Each link is made when it is first needed, and by the code that the master daemon itself uses.
"""

from __future__ import annotations

import base64
import json
import random
import sys
from pathlib import Path
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineOnlyReceiver

from gnt.daemon.reactor import the_reactor
from gnt.model.errors import GntError
from gnt.model.layout import Layout
from gnt.store.reading import Reader
from gnt.wire.envelope import Answer, decode_request, encode_answer
from gnt.wire.pb_client import NodeLink
from gnt.wire.tls import ClientTls, NodeCredentials

PORT = 1811


class Driver(LineOnlyReceiver):
    """Takes requests line by line; they go side by side."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def __init__(self, layout: Layout) -> None:
        self._credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
        reader = Reader.open(layout.config_db)
        self._nodes = {node.name: node for node in reader.load_cluster().nodes.values()}
        reader.close()
        self._links: dict[str, NodeLink] = {}

    def lineReceived(self, line: bytes) -> None:
        """Begin a request."""
        message = json.loads(line)
        Deferred.fromCoroutine(self._serve(message)).addErrback(self._broken)

    async def _serve(self, message: dict[str, Any]) -> None:
        link = self._link(message["node"])
        try:
            await link.when_connected()
            answer = await link.call(decode_request(base64.b64decode(message["request"])))
        except GntError as error:
            answer = Answer.of(error)
        said = {"id": message["id"], "answer": base64.b64encode(encode_answer(answer)).decode()}
        self.sendLine(json.dumps(said).encode())

    def _link(self, name: str) -> NodeLink:
        if name not in self._links:
            node = self._nodes[name]
            tls = ClientTls(self._credentials, (node.uuid,))
            reactor = the_reactor()
            link = NodeLink(name, node.uuid, node.primary_ip, PORT, tls, clock=reactor, source=random.SystemRandom())
            link.start()
            self._links[name] = link
        return self._links[name]

    def _broken(self, failure: Any) -> None:
        failure.printTraceback(sys.stderr)
        the_reactor().stop()

    def connectionLost(self, _reason: Any = None) -> None:
        """End with whoever asks."""
        if the_reactor().running:
            the_reactor().stop()


if __name__ == "__main__":
    stdio.StandardIO(Driver(Layout(Path(sys.argv[1]))))  # type: ignore[no-untyped-call]
    the_reactor().run()
