"""gnt-cluster renew-crypto against a fake master."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from gnt.wire.certificates import make_authority, make_rapi
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


def test_a_certificate_that_was_bought(gnt: Run, master: FakeMaster, root: Path) -> None:
    """It is checked and put in place here, then handed to the other candidates; its key stands in no request."""
    source = random.Random(1)  # noqa: S311
    authority = make_authority("x", now=time.time(), source=source)
    bought = make_rapi(authority, cluster_name="c", names=[], addresses=[], now=time.time(), source=source)
    (root / "bought.pem").write_bytes(bought.pem())
    place = root / "var/lib/ganeti/rapi.pem"
    words = ("cluster", "renew-crypto", "-f", "--rapi-certificate", root / "bought.pem")
    ran = gnt(*words, "--new-rapi-certificate")
    assert (ran.status, "exclude each other" in ran.err) == (1, True)
    master.plans = [Job(None)]
    assert gnt(*words).status == 0
    assert place.read_bytes() == bought.pem()
    assert place.stat().st_mode & 0o777 == 0o600
    assert master.opcode()["rapi_certificate_given"] is True
    assert "PRIVATE" not in repr(master.requests)
    (root / "bought.pem").write_bytes(bought.certificate)
    ran = gnt(*words)
    assert "does not hold a key" in ran.err
    (root / "bought.pem").unlink()
    assert "No such file" in gnt(*words).err
    assert place.read_bytes() == bought.pem()
    assert len(master.called("SubmitJob")) == 1


@pytest.mark.parametrize(
    "option",
    [
        *("--new-confd-hmac-key", "--new-cluster-domain-secret", "--cluster-domain-secret=f", "--new-ssh-keys"),
        *("--no-ssh-key-check", "--ssh-key-type=rsa", "--ssh-key-bits=2048", "--new-spice-certificate"),
        *("--spice-certificate=f", "--spice-ca-certificate=f"),
    ],
)
def test_what_does_not_exist_here_is_refused_by_name(gnt: Run, master: FakeMaster, option: str) -> None:
    """And nothing else of the command is done."""
    ran = gnt("cluster", "renew-crypto", "-f", "--new-node-certificates", option)
    assert ran.status == 1
    assert f"option {option.partition('=')[0]} is not supported" in ran.err
    assert not master.requests
