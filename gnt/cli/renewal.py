"""gnt-cluster renew-crypto: new certificates while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gnt.cli.bootstrap import run_bootstrap
from gnt.cli.call import Call
from gnt.cli.command import Command, from_opcode, option, unsupported
from gnt.cli.failures import OK, Declined
from gnt.cli.jobs import json_of, run
from gnt.cli.options import FORCE, PLAN
from gnt.cli.terminal import ask
from gnt.model.errors import WRONG_INPUT, Refused

_OP: Final = "OP_CLUSTER_RENEW_CRYPTO"
_NO_SSH: Final = "gnt has no SSH keys of its own"
_NO_SPICE: Final = "SPICE has no certificate here"
_NO_CONFD: Final = "there is no confd whose messages it would sign"
_NO_SHARED: Final = "there is no secret that clusters share"


def _renew(call: Call) -> int:
    wanted = {
        "cluster_certificate": "the authority with the certificates of all nodes",
        "node_certificates": "the certificates of all nodes",
        "rapi_certificate": "the certificate of the remote API",
    }
    named = [text for name, text in wanted.items() if call.option(name)]
    file = call.option("rapi_file")
    if file is not None:
        if call.option("rapi_certificate"):
            raise Refused(WRONG_INPUT, "--new-rapi-certificate and --rapi-certificate exclude each other")
        named.append(wanted["rapi_certificate"])
    if not named:
        raise Refused(
            WRONG_INPUT,
            "renew-crypto: nothing to renew was named",
            hint="--new-node-certificates, --new-cluster-certificate, --new-rapi-certificate",
        )
    question = f"This renews {' and '.join(named)}. Nothing is stopped, jobs wait meanwhile. Continue?"
    if not (call.option("force") or call.option("plan")) and not ask(question):
        raise Declined("renewing certificates", hint="-f asks no question")
    if file is not None and not call.option("plan"):
        # Before anything is put in place: this must be the master, and it must answer.
        call.client.query_cluster_info()
        run_bootstrap(call, "rapi-certificate", {"path": str(Path(file).absolute())})
    ended = run(call, call.opcode(_OP, rapi_certificate_given=file is not None))
    if call.json and ended is not None:
        call.print_json(json_of(ended))
    return OK


RENEW: Final = Command(
    name="renew-crypto",
    help="renew certificates of the nodes, the authority and the remote API while everything runs",
    run=_renew,
    options=(
        FORCE,
        from_opcode(_OP, "cluster_certificate", "--new-cluster-certificate"),
        from_opcode(_OP, "node_certificates", "--new-node-certificates"),
        from_opcode(_OP, "rapi_certificate", "--new-rapi-certificate"),
        from_opcode(_OP, "verbose", "-v", "--verbose"),
        option(
            "--rapi-certificate",
            dest="rapi_file",
            metavar="FILE",
            help="use key and certificate of this file for the remote API",
        ),
        unsupported("--new-ssh-keys", hint=_NO_SSH),
        unsupported("--no-ssh-key-check", hint=_NO_SSH),
        unsupported("--ssh-key-type", hint=_NO_SSH),
        unsupported("--ssh-key-bits", hint=_NO_SSH),
        unsupported("--new-spice-certificate", hint=_NO_SPICE),
        unsupported("--spice-certificate", hint=_NO_SPICE),
        unsupported("--spice-ca-certificate", hint=_NO_SPICE),
        unsupported("--new-confd-hmac-key", hint=_NO_CONFD),
        unsupported("--new-cluster-domain-secret", hint=_NO_SHARED),
        unsupported("--cluster-domain-secret", hint=_NO_SHARED),
        PLAN,
    ),
    examples=("gnt-cluster renew-crypto --new-node-certificates",),
    text="Nodes that are offline keep what they have and are named; if it was cut off, the same command begins anew."
    ' With --json: {"job", "status", "result"}.',
)
