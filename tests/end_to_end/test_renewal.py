"""New certificates on a real cluster under load: no daemon stops, no job is lost, and a master that dies in between."""

from __future__ import annotations

import random
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gnt.wire.certificates import bundle, check_signed, digest, load_identity, make_rapi, signing_authority
from gnt.wire.luxi_client import LuxiClient
from tests.live import Live, wait_until

NODED, MASTERD, RAPI = "gnt-noded", "gnt-masterd", "gnt-rapi"


def in_use(live: Live) -> dict[str, str]:
    """Give the digest of each node's certificate."""
    return {node: digest(load_identity(live.layout(node).node_pem).certificate) for node in live.names}


def daemons(live: Live) -> dict[tuple[str, str], int]:
    """Give the process of every daemon."""
    master = {("node1", name): live.pid("node1", name) for name in (MASTERD, RAPI)}
    return {**master, **{(node, NODED): live.pid(node, NODED) for node in live.names}}


def whole(live: Live) -> None:
    """See that the cluster finds nothing wrong, and that all trust each other."""
    checked = live.json("gnt-cluster", "verify")
    assert checked["clean"] is True, checked
    for node in live.names:
        certificate = load_identity(live.layout(node).node_pem).certificate
        for other in live.names:
            check_signed(certificate, live.layout(other).authority_certificate.read_bytes())


@contextmanager
def traffic(live: Live) -> Iterator[list[int]]:
    """Submit jobs one after the other, each committed on all candidates; gives their numbers. None may fail."""
    numbers: list[int] = []
    problems: list[BaseException] = []
    ending = threading.Event()

    def submit() -> None:
        op = {"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": False}
        try:
            with LuxiClient(live.layout("node1").master_socket) as client:
                while not ending.is_set():
                    numbers.append(int(client.call("SubmitJob", [op])))
        except Exception as problem:  # noqa: BLE001  (told by the thread that waits)
            problems.append(problem)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        wait_until(lambda: len(numbers) > 5 or problems, "no job is taken")
        yield numbers
    finally:
        ending.set()
        thread.join()
    assert not problems, problems
    for number in numbers:
        assert live.job(number)["status"] == "success", number


def test_nodes_get_new_certificates_under_load(live: Live) -> None:
    """Each its own, and nothing else notices; who connects next shows the new one."""
    before, running = in_use(live), daemons(live)
    with traffic(live):
        live.command("node1", "gnt-cluster", "renew-crypto", "-f", "--new-node-certificates")
    after = in_use(live)
    assert not set(before.values()) & set(after.values())
    assert daemons(live) == running
    whole(live)
    live.restart("node2", NODED)
    live.restart("node1", MASTERD)
    whole(live)


def test_the_authority_is_replaced_under_load(live: Live) -> None:
    """Nodes, remote API and libvirt's files follow; afterwards only the new one is trusted, and a node can join."""
    before = {node: live.layout(node).authority_certificate.read_bytes() for node in live.names}
    running = daemons(live)
    with traffic(live):
        live.command("node1", "gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate")
    after = {node: live.layout(node).authority_certificate.read_bytes() for node in live.names}
    assert len(set(after.values())) == 1
    assert not set(before.values()) & set(after.values())
    assert len(bundle(after["node1"])) == 1
    assert len({live.layout(node).authority_key.read_bytes() for node in live.names}) == 1
    assert daemons(live) == running
    assert live.rapi("/version") == (200, 2)
    whole(live)
    for node in live.names:
        live.restart(node, NODED)
    live.restart("node1", MASTERD)
    whole(live)


def test_a_given_certificate_of_the_remote_api(live: Live) -> None:
    """It is served at once, and the other candidates have it for the day when they are the master."""
    path = live.base / "given.pem"
    layout = live.layout("node1")
    authority = signing_authority(layout.authority_certificate.read_bytes(), layout.authority_key.read_bytes())
    source, now, address = random.Random(1), time.time(), live.address("node1")  # noqa: S311
    given = make_rapi(authority, cluster_name="given", names=[], addresses=[address], now=now, source=source)
    path.write_bytes(given.pem())
    live.command("node1", "gnt-cluster", "renew-crypto", "-f", "--rapi-certificate", str(path))
    assert digest(ssl.get_server_certificate((address, 5080)).encode()) == digest(given.certificate)
    assert live.rapi("/version") == (200, 2)
    assert {live.layout(node).rapi_pem.read_bytes() for node in live.names} == {given.pem()}
    live.command("node1", "gnt-cluster", "renew-crypto", "-f", "--new-rapi-certificate")
    assert live.rapi("/version") == (200, 2)
    assert digest(ssl.get_server_certificate((address, 5080)).encode()) != digest(given.certificate)
    path.unlink()


def test_no_key_is_in_a_log_or_a_file_for_all(live: Live) -> None:
    """Keys stand in files of 0600 only, libvirt's copy in 0640 for QEMU's group; nothing is left beside them."""
    for node in live.names:
        layout = live.layout(node)
        for path in sorted(layout.root.rglob("*")):
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                others = 0o037 if path.parent.name == "pki" else 0o077
                assert path.stat().st_mode & others == 0, path
                assert not path.name.endswith((".new", ".log", ".db", ".db-wal", ".data")), path


def test_a_master_that_dies_in_between(live: Live) -> None:
    """At whatever moment: the next one settles it, both generations count, and the same command goes through."""
    statuses = []
    for moment in ("making a new authority", "every node makes a new key", "node2 uses its new certificate"):
        renewing = live.spawn("node1", "gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate")
        assert renewing.stdout is not None
        assert any(moment in line for line in renewing.stdout), moment
        live.kill("node1", MASTERD, signal.SIGKILL)
        live.start("node1", MASTERD)
        said = renewing.stdout.read()
        statuses.append(renewing.wait(60))
        assert "Traceback" not in said
        live.command("node1", "gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate")
        whole(live)
        assert len(bundle(live.layout("node3").authority_certificate.read_bytes())) == 1
    # Where it had come to its end already when the signal came, nothing was cut off.
    assert any(statuses), statuses
