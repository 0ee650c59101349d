"""gnt-cluster, gnt-node and gnt-os against a fake master and a fake bootstrap program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job
from tests.live import wait_until

Bootstrap = Callable[..., Path]


@pytest.fixture
def bootstrap(root: Path, monkeypatch: pytest.MonkeyPatch) -> Bootstrap:
    """Put a program in place of `python -m gnt.bootstrap` that keeps its request and says these lines."""
    kept = root / "request.json"

    def make(*lines: Any) -> Path:
        program = root / "python"
        said = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (root / "lines").write_text(f"{said}\n", encoding="utf-8")
        program.write_text(f'#!/bin/sh\necho "$3" >{root}/verb\ncat >{kept}\ncat {root}/lines\n', encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return kept

    return make


def test_init_hands_everything_over(gnt: Run, root: Path, bootstrap: Bootstrap) -> None:
    """What options say goes into the request by its name; what was not given is null. Progress is on standard error."""
    kept = bootstrap({"progress": "making certificates"}, {"result": {"cluster": "c1"}})
    ran = gnt(
        "cluster",
        "init",
        "--enabled-hypervisors=kvm,fake",
        "-H",
        "kvm:acpi=false",
        "-N",
        "link=br0",
        "-C",
        "3",
        "--uid-pool=100-200,300",
        "--no-ssh-init",
        "--no-etc-hosts",
        "--maintain-node-health=no",
        "--primary-ip-version=4",
        "-D",
        "drbd:metavg=x",
        "--specs-mem-size=min=64m,max=1g,std=128",
        "--ipolicy-vcpu-ratio=2.5",
        "c1",
    )
    assert ran == (0, "", "* making certificates\n")
    assert (root / "verb").read_text() == "init\n"
    request = json.loads(kept.read_text())
    given = {name: value for name, value in request.items() if value is not None}
    policy = given.pop("ipolicy")
    assert given == {
        "cluster_name": "c1",
        "enabled_hypervisors": ["kvm", "fake"],
        "hvparams": {"kvm": {"acpi": "false"}},
        "nicparams": {"link": "br0"},
        "candidate_pool_size": 3,
        "uid_pool": [[100, 200], [300, 300]],
        "modify_ssh_setup": False,
        "modify_etc_hosts": False,
        "maintain_node_health": False,
        "primary_ip_version": 4,
        "diskparams": {"drbd": {"metavg": "x"}},
    }
    assert policy["std"] == {"memory-size": 128}
    assert policy["vcpu-ratio"] == 2.5
    assert (policy["minmax"][0]["min"]["memory-size"], policy["minmax"][0]["max"]["memory-size"]) == (64, 1024)
    assert policy["minmax"][0]["max"]["cpu-count"] == 8


def test_init_says_what_bootstrap_understands(gnt: Run, bootstrap: Bootstrap) -> None:
    """The request of every option together is one that the program decodes."""
    import msgspec

    from gnt.bootstrap.init import InitRequest

    kept = bootstrap({"result": None})
    assert gnt("cluster", "init", "c1").status == 0
    assert msgspec.json.decode(kept.read_bytes(), type=InitRequest).cluster_name == "c1"


def test_init_can_be_planned(gnt: Run, bootstrap: Bootstrap) -> None:
    """The same request with a word more; the steps are shown."""
    kept = bootstrap({"result": {"plan": ["make", "start"]}})
    assert gnt("cluster", "init", "--plan", "c1") == (0, "no job and no lock\n  1 make\n  2 start\n", "")
    assert json.loads(kept.read_text())["plan"] is True
    assert json.loads(gnt("cluster", "init", "--plan", "--json", "c1").out) == {"result": {"plan": ["make", "start"]}}


def test_init_that_fails(gnt: Run, bootstrap: Bootstrap) -> None:
    """The error of the program is the error of the command; one without an answer is said."""
    bootstrap({"error": {"code": "wrong_state", "text": "there is a cluster", "hint": "destroy it"}})
    ran = gnt("cluster", "init", "c1")
    assert ran == (1, "", "Failure: there is a cluster  [wrong_state]\n  destroy it\n")
    bootstrap("Traceback: boom")
    ran = gnt("cluster", "init", "c1")
    assert ran.status == 1
    assert "* Traceback: boom\nFailure: the program gnt.bootstrap ended without an answer" in ran.err
    bootstrap({"error": {"code": "configuration", "text": "of another program"}})
    assert gnt("cluster", "init", "c1").status == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("-H", "kvm:a=1", "-H", "kvm:b=1"), 1, "-H kvm is given twice"),
        (("-H", "no_kvm"), 1, "-H no_kvm"),
        (("-C", "0"), 2, "option -C: 0 must be >= 1"),
        (("--uid-pool=9-3",), 2, "option --uid-pool: the range 9-3 is upside down"),
        (("--uid-pool=x",), 2, "option --uid-pool: 'x' is neither"),
        (("--user-shutdown=perhaps",), 2, "option --user-shutdown: 'perhaps' is neither yes nor no"),
        (("--enabled-hypervisors=kvm,,fake",), 2, "option --enabled-hypervisors"),
        (("--primary-ip-version=5",), 2, "option --primary-ip-version: '5' is none of 4, 6"),
        (("--specs-cpu-count=min=x",), 2, "option --specs-cpu-count: 'x' is not a whole number"),
        (("--specs-cpu-count=most=1",), 2, "option --specs-cpu-count: 'most' is none of min, max, std"),
        (("--ipolicy-bounds-specs=min:cpu-count=1",), 2, "option --ipolicy-bounds-specs: min lacks"),
        (("--ipolicy-std-specs=colour=1",), 2, "option --ipolicy-std-specs: 'colour' is none of"),
        (("--ipolicy-vcpu-ratio=many",), 2, "option --ipolicy-vcpu-ratio: 'many' is not a number"),
        (("--specs-cpu-count=min=1", "--ipolicy-std-specs=cpu-count=1"), 1, "exclude each other"),
        (("--no-lvm-storage",), 1, "option --no-lvm-storage is not supported by this version"),
        (("-b", "br0"), 1, "option --bridge is not supported by this version"),
    ],
)
def test_bad_init_options(gnt: Run, bootstrap: Bootstrap, words: tuple[str, ...], status: int, said: str) -> None:
    """Each is named, and nothing is run."""
    kept = bootstrap({"result": None})
    ran = gnt("cluster", "init", *words, "c1")
    assert ran.status == status
    assert said in ran.err
    assert not kept.exists()


def test_the_full_form_of_a_policy(gnt: Run, bootstrap: Bootstrap) -> None:
    """Several pairs of bounds, each whole."""
    kept = bootstrap({"result": None})
    specs = "memory-size={},cpu-count=1,disk-count=1,disk-size=1g,nic-count=1,spindle-use=1"
    pair = f"min:{specs.format('1g')}/max:{specs.format('2g')}"
    assert gnt("cluster", "init", f"--ipolicy-bounds-specs={pair}//{pair}", "c1").status == 0
    pairs = json.loads(kept.read_text())["ipolicy"]["minmax"]
    assert [each["max"]["memory-size"] for each in pairs] == [2048, 2048]


def test_destroy_needs_a_clear_word(gnt: Run, root: Path, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """Then the job, then the program that clears this node."""
    kept = bootstrap({"progress": "ending gnt-rapi"}, {"result": {}})
    (root / "var/lib/ganeti/ssconf_cluster_name").write_text("c1\n")
    ran = gnt("cluster", "destroy")
    assert ran.status == 1
    assert "--yes-do-it" in ran.err
    assert not master.requests
    master.plans = [Job(["OpPrereqError", ["There are still instances", "wrong_state"]], status="error"), Job("node1")]
    assert gnt("cluster", "destroy", "--yes-do-it").status == 1
    assert not kept.exists()
    assert gnt("cluster", "destroy", "--ya-rly") == (0, "", "* ending gnt-rapi\n")
    assert json.loads(kept.read_text()) == {"cluster_name": "c1"}


def test_the_master_is_known_without_it(gnt: Run, root: Path) -> None:
    """Getmaster reads a file; where it is not, the configuration is at fault, status 2."""
    assert gnt("cluster", "getmaster") == (0, "node1\n", "")
    assert json.loads(gnt("cluster", "getmaster", "--json").out) == {"master_node": "node1"}
    (root / "var/lib/ganeti/ssconf_master_node").unlink()
    ran = gnt("cluster", "getmaster")
    assert ran.status == 2
    assert ran.err.startswith("Corrupt configuration file: there is no ")
    assert "Aborting." in ran.err


def test_why_no_master_answers(gnt: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another node; or it is this one and its daemon does not run; or there is no cluster."""
    ran = gnt("instance", "list")
    assert ran.status == 1
    assert ran.err.startswith("Failure: cannot communicate with the master daemon")
    monkeypatch.setenv("GNT_HOSTNAME", "node2")
    assert gnt("instance", "list").err == (
        "Failure: this is not the master node; run the command on node1  [environment_error]\n"
    )
    (root / "var/lib/ganeti/ssconf_master_node").unlink()
    assert "this machine is not part of a cluster" in gnt("instance", "list").err


def test_another_socket(gnt: Run, root: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_LUXI_SOCKET names one, or a path."""
    monkeypatch.setenv("FORCE_LUXI_SOCKET", "query")
    assert gnt("job", "list").status == 1
    monkeypatch.setenv("FORCE_LUXI_SOCKET", str(root / "var/run/ganeti/socket/ganeti-master"))
    assert gnt("job", "list").status == 0


INFO: dict[str, Any] = {
    "software_version": "0.1.0",
    "protocol_version": 3010000,
    "config_version": 3010000,
    "os_api_version": 20,
    "export_version": 0,
    "vcs_version": "x",
    "architecture": ["64bits", "x86_64"],
    "name": "c1",
    "uuid": "u",
    "master": "node1",
    "ctime": 1_700_000_000.0,
    "mtime": 1_700_000_000.0,
    "tags": [],
    "default_hypervisor": "kvm",
    "enabled_hypervisors": ["kvm"],
    "hvparams": {"kvm": {"acpi": True}, "fake": {}},
    "os_hvp": {},
    "osparams": {},
    "hidden_os": [],
    "blacklisted_os": ["a"],
    "ndparams": {"ssh_port": 22},
    "beparams": {"default": {"vcpus": 1}},
    "nicparams": {"default": {"mode": "bridged"}},
    "diskparams": {"plain": {"stripes": 1}},
    "uid_pool": [[1, 1], [3, 5]],
    "enabled_disk_templates": ["file", "diskless"],
    "ipolicy": {
        "minmax": [{"min": {"cpu-count": 1}, "max": {"cpu-count": 8}}],
        "std": {"cpu-count": 1},
        "disk-templates": ["file"],
        "vcpu-ratio": 4.0,
        "spindle-ratio": 32.0,
    },
    "enabled_data_collectors": {"lv": True},
    "data_collector_interval": {"lv": 5_000_000},
}


def test_versions(gnt: Run, master: FakeMaster) -> None:
    """A line for each."""
    master.cluster = INFO
    assert gnt("cluster", "version").out == (
        "Software version: 0.1.0\nInternode protocol: 3010000\nConfiguration format: 3010000\n"
        "OS api version: 20\nExport interface: 0\nVCS version: x\n"
    )


def test_the_cluster_is_described(gnt: Run, master: FakeMaster) -> None:
    """The tree has the parts of the specification in their order."""
    master.cluster = INFO
    out = gnt("cluster", "info").out
    assert out.startswith(
        "Cluster name: c1\nCluster UUID: u\nCreation time: 2023-11-14 22:13:20\n"
        "Modification time: 2023-11-14 22:13:20\nMaster node: node1\n"
        "Architecture (this node): 64bits (x86_64)\nTags: (none)\nDefault hypervisor: kvm\n"
        "Enabled hypervisors: kvm\nHypervisor parameters: \n  kvm: \n    acpi: True\n"
    )
    assert "  uid pool: 1, 3-5\n" in out
    assert "  enabled disk templates: file, diskless\n" in out
    assert "  bounds specs: \n    - min/0: \n        cpu-count: 1\n      max/0: \n        cpu-count: 8\n" in out
    assert "without a majority" not in out
    assert json.loads(gnt("cluster", "show", "--json").out) == {**INFO, "unsafe_changes": []}
    master.unsafe = [{"time": 0.0, "epoch": "4@u", "nodes": ["node2", "node3"], "by": "gnt-masterd --no-voting"}]
    out = gnt("cluster", "info").out
    assert "Changes without a majority: \n  - 1970-01-01 " in out
    assert "gnt-masterd --no-voting struck off node2 node3 (epoch 4)" in out


VERIFY_JOBS = {"jobs": [[True, 21], [True, 22]]}


def test_verify_follows_its_jobs(gnt: Run, master: FakeMaster) -> None:
    """The options go into the opcode; messages are shown; an answer of false makes the status 1."""
    master.jobs = {21: Job(True, log=("* Verifying cluster config",)), 22: Job(False, log=("  - ERROR: node n: bad",))}
    master.plans = [Job(VERIFY_JOBS)]
    ran = gnt("cluster", "verify", "--error-codes", "-I", "ENODESSH", "--no-nplus1-mem", "-g", "default")
    assert ran.status == 1
    assert ran.out == (
        "Submitted jobs 21, 22\nWaiting for job 21 ...\nTue Nov 14 22:13:21 2023 * Verifying cluster config\n"
        "Waiting for job 22 ...\nTue Nov 14 22:13:21 2023   - ERROR: node n: bad\n"
    )
    op = master.opcode()
    assert (op["error_codes"], op["ignore_errors"], op["skip_checks"], op["group_name"]) == (
        True,
        ["ENODESSH"],
        ["nplusone_mem"],
        "default",
    )


def test_verify_of_a_clean_cluster(gnt: Run, master: FakeMaster) -> None:
    """Status 0; a job that failed is counted."""
    master.jobs = {21: Job(True), 22: Job(True)}
    master.plans = [Job(VERIFY_JOBS), Job(VERIFY_JOBS)]
    ran = gnt("cluster", "verify", "--json")
    assert ran.status == 0
    assert json.loads(ran.out)["clean"] is True
    master.jobs[22] = Job(["OpExecError", ["boom"]], status="error")
    ran = gnt("cluster", "verify")
    assert ran.status == 1
    assert ran.err == "Job 22 has failed: boom\n1 job(s) failed while verifying the cluster.\n"
    assert gnt("cluster", "verify", "-I", "ENOSUCH").status == 2


NODE: dict[str, Any] = {
    "name": "node1",
    "dtotal": 10240,
    "dfree": 5120,
    "mtotal": (4, None),
    "mnode": (2, None),
    "mfree": 900,
    "pinst_cnt": 1,
    "sinst_cnt": 0,
    "pip": "192.0.2.1",
    "sip": "192.0.2.1",
    "master_candidate": True,
    "drained": False,
    "offline": False,
    "master_capable": True,
    "vm_capable": True,
    "pinst_list": ["web1"],
    "sinst_list": [],
    "ndparams": {"ssh_port": 22, "oob_program": ""},
    "custom_ndparams": {"ssh_port": 22},
    "group": "default",
    "uuid": "u-1",
}


def test_nodes_are_listed(gnt: Run, master: FakeMaster) -> None:
    """Sizes and numbers stand right."""
    master.rows["node"] = [NODE]
    assert gnt("node", "list").out == (
        "Node  DTotal DFree MTotal MNode MFree Pinst Sinst\nnode1  10.0G  5.0G      *     ?  900M     1     0\n"
    )


def test_a_node_is_described(gnt: Run, master: FakeMaster) -> None:
    """Its own parameters and those that hold by default."""
    master.rows["node"] = [NODE]
    assert gnt("node", "info", "node1").out == (
        "- Node name: node1\n  primary ip: 192.0.2.1\n  secondary ip: 192.0.2.1\n  master candidate: True\n"
        "  drained: False\n  offline: False\n  master_capable: True\n  vm_capable: True\n  group: default\n"
        "  UUID: u-1\n  primary for instances: \n    - web1\n  secondary for instances: \n  node parameters: \n"
        "    oob_program: default ()\n    ssh_port: 22\n"
    )
    assert gnt("node", "info", "node7").status == 1


def test_a_node_is_added_over_ssh(gnt: Run, root: Path, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """First the program that sets it up, then the job that records it."""
    kept = bootstrap({"progress": "node2: starting gnt-noded"}, {"result": {"node": "node2"}})
    ran = gnt("node", "add", "-s", "198.51.100.2", "--no-ssh-key-check", "--vm-capable=no", "node2")
    assert ran == (0, "", "* node2: starting gnt-noded\n")
    assert (root / "verb").read_text() == "add\n"
    request = json.loads(kept.read_text())
    assert (request["node"], request["ssh_key_check"], request["secondary_ip"]) == ("node2", False, "198.51.100.2")
    op = master.opcode()
    assert (op["OP_ID"], op["node_name"], op["secondary_ip"], op["vm_capable"]) == (
        "OP_NODE_ADD",
        "node2",
        "198.51.100.2",
        False,
    )


def test_the_request_to_add_is_understood(gnt: Run, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """The program that adds decodes it."""
    import msgspec

    from gnt.bootstrap.add import AddCommand

    kept = bootstrap({"result": {}})
    gnt("node", "add", "-g", "default", "node2")
    assert msgspec.json.decode(kept.read_bytes(), type=AddCommand).group == "default"


def test_a_node_that_cannot_be_added(gnt: Run, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """One that is there, one that is not there for --readd, a bad parameter: nothing is done on the node."""
    kept = bootstrap({"error": {"code": "environment_error", "text": "node2 has no command gnt-node"}})
    master.rows["node"] = [NODE]
    assert gnt("node", "add", "node1").err.startswith("Failure: node1 is a node of this cluster  [already_exists]\n")
    assert gnt("node", "add", "--readd", "node2").err.startswith("Failure: node2 is not a node of this cluster")
    assert gnt("node", "add", "--vm-capable=x", "node2").status == 2
    # The program may have been started, which loads meanwhile; it was asked for nothing.
    assert not kept.exists() or kept.read_text() == ""
    assert gnt("node", "add", "node2") == (1, "", "Failure: node2 has no command gnt-node  [environment_error]\n")
    assert not master.opcodes()


FORETOLD: dict[str, Any] = {
    "summary": "NODE_ADD(node2)",
    "locks": [{"level": "cluster", "name": "all", "mode": "exclusive"}],
    "nodes": [],
    "steps": [],
    "notes": [],
    "then": ["node2 (192.0.2.2) is recorded as a regular node of the group default"],
    "refused": None,
}


def test_adding_a_node_can_be_planned(gnt: Run, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """What happens on the machine first, then what the job does; nothing of it is done, there or here."""
    kept = bootstrap({"result": {}})
    master.answers["PlanJob"] = lambda _: [FORETOLD]
    for words, how in (((), "over SSH, as root"), (("--token",), "with the token")):
        ran = gnt("node", "add", "--plan", *words, "node2")
        assert (ran.status, ran.err) == (0, "")
        first, *rest = ran.out.splitlines()
        assert first.startswith(f"first, {how}")
        assert rest == [
            "job would take: the whole cluster (exclusive)",
            "  then: node2 (192.0.2.2) is recorded as a regular node of the group default",
        ]
    assert json.loads(gnt("node", "add", "--plan", "--json", "node2").out)["plans"][0]["opcodes"] == [FORETOLD]
    assert not kept.exists()
    assert not master.opcodes()


def test_adding_a_node_dry(gnt: Run, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """Silence where it could be done, the refusal where not."""
    kept = bootstrap({"result": {}})
    master.answers["PlanJob"] = lambda _: [FORETOLD]
    assert gnt("node", "add", "--dry-run", "node2") == (0, "", "")
    assert json.loads(gnt("node", "add", "--dry-run", "--json", "node2").out)["status"] == "success"
    refused = {"code": "resource_not_unique", "text": "192.0.2.1 is an address of node1", "hint": "another"}
    master.answers["PlanJob"] = lambda _: [{**FORETOLD, "then": [], "refused": refused}]
    said = "Failure: 192.0.2.1 is an address of node1  [resource_not_unique]\n  another\n"
    assert gnt("node", "add", "--dry-run", "node2") == (1, "", said)
    assert not kept.exists()
    assert not master.opcodes()


def test_a_node_is_added_by_token(gnt: Run, root: Path, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """The token is on standard output, what to do with it on standard error; then the node is recorded."""
    kept = bootstrap({"token": "AAAA-BBBB"}, {"progress": "node3 has joined"}, {"result": {"node": "node3"}})
    ran = gnt("node", "add", "--token", "-g", "default", "node3")
    assert (ran.status, ran.out) == (0, "AAAA-BBBB\n")
    assert "On node3, as root, type gnt-node join" in ran.err
    assert "AAAA" not in ran.err
    assert (root / "verb").read_text() == "token\n"
    assert json.loads(kept.read_text())["group"] == "default"
    assert master.opcode()["OP_ID"] == "OP_NODE_ADD"


def test_a_token_that_is_never_used(gnt: Run, master: FakeMaster, bootstrap: Bootstrap) -> None:
    """What became of it is said, and no node recorded."""
    bootstrap({"token": "AAAA-BBBB"}, {"error": {"code": "failed", "text": "the token for node3 has expired"}})
    ran = gnt("node", "add", "--token", "--json", "node3")
    assert ran.status == 1
    assert json.loads(ran.out) == {"token": "AAAA-BBBB", "node": "node3"}
    assert "has expired" in json.loads(ran.err)["error"]["text"]
    assert not master.opcodes()


def test_joining_loads_while_the_token_is_typed(
    gnt: Run, root: Path, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that joins is started before; without a token it is ended, and was asked for nothing."""

    class Typing:
        """A person who types when the program is there."""

        def isatty(self) -> bool:
            """Say no."""
            return False

        def read(self, _most: int) -> str:
            """Wait for the program, and type nothing."""
            wait_until((root / "verb").exists, "nothing was started")
            return ""

    kept = bootstrap({"result": {"cluster": "c1"}})
    monkeypatch.setattr(sys, "stdin", Typing())
    assert "there is no token on standard input" in gnt("node", "join").err
    assert not kept.exists() or kept.read_text() == ""


def test_joining_reads_the_token(gnt: Run, root: Path, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    """From standard input, never from an argument."""
    import io

    kept = bootstrap({"progress": "asking the master"}, {"result": {"cluster": "c1"}})
    monkeypatch.setattr(sys, "stdin", io.StringIO("AAAA-BBBB\n"))
    assert gnt("node", "join") == (0, "", "* asking the master\n")
    assert (root / "verb").read_text() == "join\n"
    assert json.loads(kept.read_text()) == {"token": "AAAA-BBBB", "readd": False}
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert "there is no token on standard input" in gnt("node", "join").err
    assert gnt("node", "join", "AAAA-BBBB").err == "Error: Command join expects no arguments\n"


def test_a_node_is_removed(gnt: Run, master: FakeMaster) -> None:
    """By a job."""
    assert gnt("node", "remove", "--dry-run", "node2").status == 0
    op = master.opcode()
    assert (op["OP_ID"], op["node_name"], op["dry_run"]) == ("OP_NODE_REMOVE", "node2", True)


def test_usable_definitions_are_listed(gnt: Run, master: FakeMaster) -> None:
    """One line for each variant; what is hidden, blacklisted or broken is left out."""
    rows = [
        ["busybox", [], True, False, False],
        ["debian", ["12", "13"], True, False, False],
        ["broken", [], False, False, False],
        ["secret", [], True, True, False],
    ]
    master.plans = [Job(rows), Job(rows), Job([])]
    assert gnt("os", "list").out == "Name\nbusybox\ndebian+12\ndebian+13\n"
    assert json.loads(gnt("os", "list", "--json").out)[1] == {"name": "debian+12"}
    ran = gnt("os", "list", "--no-headers")
    assert (ran.status, ran.out) == (0, "")
    assert "gnt-os diagnose" in ran.err


def test_definitions_are_diagnosed(gnt: Run, master: FakeMaster) -> None:
    """Valid nodes first, then the others; the status is 1 if one is not valid everywhere."""
    good = ["/srv/os/a", True, "", ["x", "y"], [["p", "a parameter"]], [20, 15], False]
    bad = ["/srv/os/a", False, "no create script", [], [], [], False]
    old = ["/usr/share/a", False, "old", [], [], [], False]
    status = {"node1": [bad, old], "node2": [good], "node3": []}
    master.plans = [
        Job([["a", False, ["x"], status, True, False]]),
        Job([["a", True, [], {"node2": [good]}, False, False]]),
    ]
    ran = gnt("os", "diagnose")
    assert ran.status == 1
    assert ran.out == (
        "OS: a [global status: partial valid] [hidden]\n"
        "  Node: node2, status: valid (path: /srv/os/a) [API versions: 15, 20] [variants: x, y]"
        " [parameters: p] [untrusted]\n"
        "  Node: node1, status: invalid - no create script (path: /srv/os/a)\n"
        "    [hidden] path: /usr/share/a, status: invalid - old\n"
        "  Node: node3, status: OS not found\n\n"
    )
    assert gnt("os", "diagnose").status == 0
