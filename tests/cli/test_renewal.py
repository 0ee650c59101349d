"""gnt-cluster renew-crypto against a fake master."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job


def test_what_is_renewed_is_named(gnt: Run, master: FakeMaster) -> None:
    """Each option is a parameter of the one opcode; the end is told as JSON."""
    master.plans = [Job(None), Job(None)]
    ran = gnt("cluster", "renew-crypto", "-f", "--json", "--new-node-certificates", "--new-rapi-certificate")
    assert json.loads(ran.out)["status"] == "success"
    sent = master.opcode()
    assert sent["OP_ID"] == "OP_CLUSTER_RENEW_CRYPTO"
    assert (sent["node_certificates"], sent["rapi_certificate"]) == (True, True)
    assert gnt("cluster", "renew-crypto", "-f", "--new-cluster-certificate").status == 0
    assert master.opcodes()[-1]["cluster_certificate"] is True


def test_nothing_is_renewed_without_a_word(gnt: Run, master: FakeMaster) -> None:
    """Without an option, and where nobody can be asked."""
    ran = gnt("cluster", "renew-crypto", "-f")
    assert (ran.status, "nothing to renew" in ran.err) == (1, True)
    ran = gnt("cluster", "renew-crypto", "--new-node-certificates")
    assert (ran.status, "-f asks no question" in ran.err) == (1, True)
    assert not master.called("SubmitJob")


@pytest.mark.parametrize(
    "option",
    [
        *("--new-confd-hmac-key", "--new-cluster-domain-secret", "--cluster-domain-secret=f", "--new-ssh-keys"),
        *("--no-ssh-key-check", "--ssh-key-type=rsa", "--ssh-key-bits=2048", "--new-spice-certificate"),
        *("--spice-certificate=f", "--spice-ca-certificate=f", "--rapi-certificate=f"),
    ],
)
def test_what_does_not_exist_here_is_refused_by_name(gnt: Run, master: FakeMaster, option: str) -> None:
    """And nothing else of the command is done."""
    ran = gnt("cluster", "renew-crypto", "-f", "--new-node-certificates", option)
    assert ran.status == 1
    assert f"option {option.partition('=')[0]} is not supported" in ran.err
    assert not master.requests
