"""gnt-instance against a fake master."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

WEB: dict[str, Any] = {
    "name": "web1",
    "hypervisor": "kvm",
    "os": "busybox",
    "pnode": "node1",
    "status": "running",
    "oper_ram": 2048,
    "tags": [],
    "ctime": 1_700_000_000.5,
    "be/auto_balance": True,
}
MAIL: dict[str, Any] = {**WEB, "name": "mail", "status": "ADMIN_down", "oper_ram": (3, None), "pnode": "node10"}
LOST: dict[str, Any] = {**WEB, "name": "lost", "status": "ERROR_nodedown", "oper_ram": (4, None)}


def test_instances_are_listed(gnt: Run, master: FakeMaster) -> None:
    """The usual columns; sizes with their unit; signs for what is not there, words for them with -v."""
    master.rows["instance"] = [WEB, MAIL, LOST]
    ran = gnt("instance", "list")
    assert ran.out == (
        "Instance Hypervisor OS      Primary_node Status         Memory\n"
        "web1     kvm        busybox node1        running          2.0G\n"
        "mail     kvm        busybox node10       ADMIN_down          -\n"
        "lost     kvm        busybox node1        ERROR_nodedown      *\n"
    )
    ran = gnt("instance", "list", "-v", "--no-headers", "--separator=|", "-o", "name,oper_ram")
    assert ran.out == "web1|2048\nmail|(unavail)\nlost|(offline)\n"


@pytest.mark.parametrize(("unit", "shown"), [("h", "2.0G"), ("m", "2048"), ("g", "2.0"), ("t", "0.0")])
def test_units_of_sizes(gnt: Run, master: FakeMaster, unit: str, shown: str) -> None:
    """--units says the unit, also beside a separator."""
    master.rows["instance"] = [WEB]
    assert gnt("instance", "list", "--no-headers", "--units", unit, "-o", "oper_ram").out == f"{shown}\n"


def test_kinds_of_cells(gnt: Run, master: FakeMaster) -> None:
    """Booleans are Y and N, times are local, an empty list is a dash."""
    master.rows["instance"] = [WEB]
    ran = gnt("instance", "list", "--no-headers", "-o", "be/auto_balance,ctime,tags")
    assert "2023-11-14 22:13:20" in ran.out
    ran = gnt("instance", "list", "-o", "+tags")
    assert master.called("Query")[-1][1][-2:] == ["oper_ram", "tags"]


def test_names_globs_and_filters(gnt: Run, master: FakeMaster) -> None:
    """What becomes of the arguments."""
    master.rows["instance"] = [WEB]
    gnt("instance", "list", "web1")
    gnt("instance", "list", "web*")
    gnt("instance", "list", 'pnode == "node1"')
    gnt("instance", "list", "-F", "oper_state")
    assert [args[2] for args in master.called("Query")] == [
        ["|", ["=", "name", "web1"]],
        ["|", ["=~", "name", r"^web.*(\..*)?$"]],
        ["=", "pnode", "node1"],
        ["?", "oper_state"],
    ]
    assert gnt("instance", "list", "-F", "a", "b").status == 1


def test_a_bad_filter_is_marked(gnt: Run, master: FakeMaster) -> None:
    """The text is shown with a mark where it stops making sense."""
    ran = gnt("instance", "list", "name == ")
    assert ran.status == 1
    assert ran.err == (
        "Error while parsing query filter: expected a number or a quoted text\n  name == \n          ^\n"
    )


def test_an_instance_that_is_not_there(gnt: Run, master: FakeMaster) -> None:
    """One line with the code, the hint below."""
    ran = gnt("instance", "list", "nope")
    assert ran == (1, "", "Failure: there is no instance nope  [unknown_entity]\n  known: all others\n")
    ran = gnt("instance", "list", "--json", "nope")
    assert (ran.status, ran.out) == (1, "")
    assert json.loads(ran.err) == {
        "error": {"code": "unknown_entity", "text": "there is no instance nope", "hint": "known: all others"}
    }


def test_words_of_the_environment_come_first(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """GNT_INSTANCE_LIST holds options that are always given; one's own come after."""
    master.rows["instance"] = [WEB]
    monkeypatch.setenv("GNT_INSTANCE_LIST", "--no-headers -o 'name,os'")
    assert gnt("instance", "list").out == "web1 busybox\n"
    assert gnt("instance", "list", "-o", "name").out == "web1\n"
    monkeypatch.setenv("GNT_INSTANCE_LIST", "'")
    assert gnt("instance", "list").status == 2


@pytest.mark.parametrize("words", ["--bogus", "--units=q"])
def test_a_wrong_word_of_the_environment_is_said_to_be_there(
    gnt: Run, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Who typed no option is told where it comes from; a wrong option of one's own is not laid at its door."""
    monkeypatch.setenv("GNT_INSTANCE_LIST", words)
    ran = gnt("instance", "list")
    assert ran.status == 2
    assert f"GNT_INSTANCE_LIST is {words}" in ran.err
    monkeypatch.setenv("GNT_INSTANCE_LIST", "--no-headers")
    assert "GNT_INSTANCE_LIST" not in gnt("instance", "list", words).err


@pytest.mark.parametrize("fields", ["", ",", " , "])
def test_a_list_without_fields_is_none(gnt: Run, master: FakeMaster, fields: str) -> None:
    """An empty -o names no field: that is said, instead of printing nothing."""
    master.rows["instance"] = [WEB]
    ran = gnt("instance", "list", "-o", fields)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Error: option -o: it names no field\n")


def test_fields_are_listed(gnt: Run, master: FakeMaster) -> None:
    """Name, type, title and description."""
    ran = gnt("instance", "list-fields", "oper_ram")
    assert ran.out.splitlines()[0] == "Name     Type         Title  Description"
    assert ran.out.splitlines()[1].startswith("oper_ram Storage size Memory memory")
    assert json.loads(gnt("instance", "list-fields", "--json", "os").out)[0]["kind"] == "text"
    assert gnt("instance", "list-fields", "nope").status == 14


ADD = ("-t", "sharedfile", "-n", "node1", "-o", "busybox", "--disk", "0:size=1g")


def test_an_instance_is_made(gnt: Run, master: FakeMaster) -> None:
    """The opcode is what the options say, with sizes in MiB."""
    master.plans = [Job(["node1"], log=("* creating disks",))]
    ran = gnt(
        "instance",
        "add",
        *ADD,
        "--disk",
        "1:size=512m,mode=ro",
        "--net",
        "0:link=br0,ip=10.0.0.5",
        "-B",
        "memory=1g,vcpus=2",
        "-H",
        "kvm:serial_console=true",
        "-O",
        r"k=a\,b,no_x",
        "--tags=a,b",
        "--no-start",
        "web1",
    )
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "Tue Nov 14 22:13:21 2023 * creating disks\n"
    op = master.opcode()
    wanted = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "web1",
        "mode": "create",
        "disk_template": "sharedfile",
        "pnode": "node1",
        "snode": None,
        "os_type": "busybox",
        "disks": [{"size": 1024}, {"size": 512, "mode": "ro"}],
        "nics": [{"link": "br0", "ip": "10.0.0.5"}],
        "beparams": {"memory": "1g", "vcpus": "2"},
        "hypervisor": "kvm",
        "hvparams": {"serial_console": "true"},
        "osparams": {"k": "a,b", "x": False},
        "tags": ["a", "b"],
        "start": False,
        "wait_for_sync": True,
    }
    assert {name: op[name] for name in wanted} == wanted


def test_short_ways_to_say_it(gnt: Run, master: FakeMaster) -> None:
    """-s is one disk, no --net one usual interface, --no-install no start; a mirror has two nodes."""
    gnt("instance", "add", "-t", "drbd", "-n", "node1:node2", "-s", "4g", "--no-install", "--no-nics", "web1")
    op = master.opcode()
    assert (op["pnode"], op["snode"], op["disks"], op["nics"]) == ("node1", "node2", [{"size": 4096}], [])
    assert (op["no_install"], op["start"]) == (True, False)
    gnt("instance", "add", "-t", "diskless", "-n", "node1", "-o", "noop", "web2")
    assert (master.opcodes()[1]["disks"], master.opcodes()[1]["nics"]) == ([], [{}])


@pytest.mark.parametrize(
    ("disk", "hint"),
    [
        ("0:siez=1g", "is size meant? there are: access, adopt"),
        ("0:siez=1g,provider=x", "--disk 0:size=SIZE; is siez meant to be it?"),
        ("0:colour=red,provider=x", "--disk 0:size=SIZE"),
        ("0:size=1g,colour=red", "there are: access, adopt"),
    ],
)
def test_a_key_that_was_mistyped(gnt: Run, disk: str, hint: str) -> None:
    """The one that looks like it is named; a provider of external storage may have keys of its own."""
    ran = gnt("instance", "add", "-t", "ext", "-n", "node1", "-o", "noop", "--disk", disk, "web1")
    assert ran.status == 1
    assert ran.err.splitlines()[1].strip().startswith(hint)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--disk", "0:size=0"), 1, "--disk 0: size is 0"),
        (("--disk", "0:size=1048576t"), 1, "1 EiB or more"),
        (("--disk", "0:size=x"), 1, "--disk 0: size 'x' is not a size"),
        (("--disk", "0:mode=rw"), 1, "--disk 0: no size is given"),
        (("--disk", "0:siez=1g"), 1, "--disk 0: there is no 'siez'"),
        (("--disk", "0:size=1g,mode=x"), 1, "--disk 0: mode is 'x'"),
        (("--disk", "0:size=1g,sice=2"), 1, "--disk 0: there is no 'sice'"),
        (("--disk", "0:size=1g,adopt=lv"), 1, "size and adopt exclude each other"),
        (("--disk", "0:size"), 1, "size needs a value"),
        (("--disk", "0:size=1g,size=2g"), 2, "option --disk: size is given twice"),
        (("--disk", "a:size=1g"), 1, "--disk 'a': expected a number"),
        (("--disk", "16:size=1g"), 1, "--disk 16: the last possible is 15"),
        (("--disk", "0:size=1g", "--disk", "0:size=1g"), 1, "--disk 0 is given twice"),
        (("--disk", ":size=1g"), 2, "option --disk"),
        (("-s", "0"), 1, "-s is 0"),
        (("-s", "1g", "--disk", "0:size=1g"), 1, "--disk and -s both describe disks"),
        ((), 1, "no disk is described"),
        (("-s", "1g", "--net", "0:colour=red"), 1, "--net 0: there is no 'colour'"),
        (("-s", "1g", "--net", "8:"), 1, "--net 8: the last possible is 7"),
        (("-s", "1g", "--no-nics", "--net", "0:"), 1, "--no-nics and --net exclude each other"),
        (("-s", "1g", "-B", "memory=1,memory=2"), 2, "option -B: memory is given twice"),
        (("-s", "1g", "-B", "=1"), 2, "option -B"),
        (("-s", "1g", "-H", ":x=1"), 2, "option -H"),
        (("-s", "1g", "-n", "node1:"), 2, "option -n: 'node1:' is not NODE or NODE:NODE"),
        (("-s", "1g", "-t", "floppy"), 2, "option -t: 'floppy' is none of blockdev, diskless"),
        (("-s", "1g", "--file-driver=x"), 2, "option --file-driver: 'x' is none of"),
        (("-s", "1g", "-c", "maybe"), 2, "option -c: 'maybe' is neither yes nor no"),
        (("-s", "1g", "--tags=a,,b"), 2, "option --tags"),
        (("-s", "1g", "-I", "hail"), 1, "-n and -I exclude each other"),
        (("-s", "1g", "--priority=urgent"), 2, "option --priority: 'urgent' is none of low, normal, high"),
        (("-s", "1g", "--no-start=1"), 2, "option --no-start takes no value"),
        (("-s", "1g", "--helper-startup-timeout", "3"), 1, "--helper-startup-timeout is not supported"),
        (("-s", "1g", "--no-"), 2, "option --no- is ambiguous"),
        (("--frobnicate",), 2, "there is no option --frobnicate"),
        (("-Z",), 2, "there is no option -Z"),
    ],
)
def test_bad_options_are_named(gnt: Run, master: FakeMaster, words: tuple[str, ...], status: int, said: str) -> None:
    """Each with one clear line, nothing is asked of the master."""
    ran = gnt("instance", "add", "-t", "file", "-n", "node1", "-o", "noop", *words, "web1")
    assert (ran.status, ran.out) == (status, "")
    assert said in ran.err.splitlines()[0]
    assert len(ran.err.splitlines()) <= 2
    assert not master.requests


def test_a_node_is_needed(gnt: Run, master: FakeMaster) -> None:
    """There is no allocator to choose one."""
    ran = gnt("instance", "add", "-t", "diskless", "-o", "noop", "web1")
    assert ran == (1, "", "Failure: no node is named for the instance  [wrong_input]\n  -n NODE\n")


def test_secrets_are_not_logged(gnt: Run, master: FakeMaster, root: Any) -> None:
    """The log of commands has the options, but no secret values, however they are spelled."""
    gnt("instance", "add", *ADD, "--os-parameters-secret", "pw=hush1", "web1")
    gnt("instance", "add", *ADD, "--os-parameters-priv=pw=hush2", "web1")
    gnt("instance", "add", *ADD, "--os-parameters-secret", "hush3=1,hush3=2", "web1")
    log = root / "var/log/ganeti/commands.log"
    text = log.read_text(encoding="utf-8")
    assert len(text.splitlines()) == 3
    assert "gnt-instance add -t sharedfile" in text
    assert "hush" not in text
    assert log.stat().st_mode & 0o777 == 0o600


def test_secrets_from_standard_input(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, taken as they are; no shell and no list of processes has seen them."""
    monkeypatch.setattr("sys.stdin", io.StringIO("pw=a,b=c \\ d\ntoken=\n"))
    assert gnt("instance", "add", *ADD, "--os-parameters-secret=-", "web1").status == 0
    assert master.opcode()["osparams_secret"] == {"pw": "a,b=c \\ d", "token": ""}
    for text, words in (("pw\n", "line 1 of standard input is not KEY=VALUE"), ("a=1\na=2\n", "a is given twice")):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        ran = gnt("instance", "add", *ADD, "--os-parameters-secret", "-", "web1")
        assert ran.status == 2
        assert words in ran.err
    assert len(master.opcodes()) == 1


NODES = [
    {"name": "node1", "pinst_list": ["web1"], "sinst_list": ["mail"]},
    {"name": "node2", "pinst_list": ["mail"], "sinst_list": []},
]


def test_an_instance_is_started(gnt: Run, master: FakeMaster) -> None:
    """One job, named; start and stop are other names of the commands."""
    master.rows["instance"] = [WEB]
    ran = gnt("instance", "start", "--paused", "-H", "acpi=false", "web1")
    assert ran == (0, "Waiting for job 11 for web1 ...\n", "")
    op = master.opcode()
    assert (op["OP_ID"], op["instance_name"], op["startup_paused"]) == ("OP_INSTANCE_STARTUP", "web1", True)
    assert op["hvparams"] == {"acpi": "false"}
    gnt("instance", "stop", "--timeout=0", "web1")
    assert (master.opcodes()[1]["OP_ID"], master.opcodes()[1]["timeout"]) == ("OP_INSTANCE_SHUTDOWN", 0)


def test_several_instances_are_asked_about(gnt: Run, master: FakeMaster) -> None:
    """Without a terminal the answer is no; --force-multiple asks no question."""
    master.rows["instance"] = [WEB, MAIL]
    ran = gnt("instance", "shutdown", "web1", "mail")
    assert ran.status == 1
    assert ran.err.startswith("Failure: shutdown: not confirmed, nothing was done\n")
    assert not master.opcodes()
    master.plans = [Job(), Job(["OpExecError", ["it sticks"]], status="error")]
    ran = gnt("instance", "shutdown", "--force-multiple", "web1", "mail")
    assert ran.status == 1
    assert ran.out == ("Submitted jobs 11, 12\nWaiting for job 11 for web1 ...\nWaiting for job 12 for mail ...\n")
    assert ran.err == "Job 12 for mail has failed: it sticks\n"


def test_several_jobs_for_programs(gnt: Run, master: FakeMaster) -> None:
    """An object with a list of jobs; one that failed carries its error."""
    master.rows["instance"] = [WEB, MAIL]
    master.plans = [Job(), "the queue is full"]
    ran = gnt("instance", "shutdown", "--force-multiple", "--json", "web1", "mail")
    assert ran.status == 1
    jobs = json.loads(ran.out)["jobs"]
    assert [(job["name"], job["job"], job["status"]) for job in jobs] == [
        ("web1", 11, "success"),
        ("mail", None, "refused"),
    ]
    assert jobs[1]["error"]["text"] == "the queue is full"


def test_several_jobs_are_not_waited_for(gnt: Run, master: FakeMaster) -> None:
    """--submit prints numbers with names, and what was not taken on standard error."""
    master.rows["instance"] = [WEB, MAIL]
    master.plans = [Job(), "full"]
    ran = gnt("instance", "startup", "--force-multiple", "--submit", "web1", "mail")
    assert ran == (1, "11: web1\n", "Failure for mail: full\n")


@pytest.mark.parametrize(
    ("words", "what", "names"),
    [
        (("--all",), "instance", ["web1", "mail"]),
        (("--node", "node1"), "node", ["web1", "mail"]),
        (("--primary", "node1", "node2"), "node", ["web1", "mail"]),
        (("--secondary", "node1"), "node", ["mail"]),
        (("--instance", "--tags", "a"), "instance", ["web1", "mail"]),
        (("--node-tags", "a"), "node", ["web1", "mail"]),
    ],
)
def test_ways_to_select(gnt: Run, master: FakeMaster, words: tuple[str, ...], what: str, names: list[str]) -> None:
    """By node, by tag, or all; the last of the options holds."""
    master.rows = {"instance": [WEB, MAIL], "node": NODES}
    assert gnt("instance", "startup", "--force-multiple", *words).status == 0
    assert [op["instance_name"] for op in master.opcodes()] == names
    asked, _, query_filter = master.called("Query")[0]
    assert asked == what
    if any("tags" in word for word in words):
        assert query_filter == ["|", ["=[]", "tags", "a"]]


def test_bad_selections(gnt: Run, master: FakeMaster) -> None:
    """Nothing named, names beside --all, nothing found; an empty cluster is no error for --all."""
    assert "no instance is named" in gnt("instance", "startup").err
    assert "no node is named" in gnt("instance", "startup", "--node").err
    assert "takes no names" in gnt("instance", "startup", "--all", "web1").err
    assert "no tag is named" in gnt("instance", "startup", "--tags").err
    assert gnt("instance", "startup", "--tags", "a").err == "Failure: the selection holds no instance  [wrong_input]\n"
    assert gnt("instance", "shutdown", "--all") == (0, "", "There are no instances.\n")


def test_removing_asks_first(gnt: Run, master: FakeMaster) -> None:
    """The instance must be there before anybody is asked; without a terminal nothing is done."""
    master.rows["instance"] = [WEB]
    ran = gnt("instance", "remove", "web1")
    assert ran.status == 1
    assert "remove: not confirmed" in ran.err
    assert gnt("instance", "remove", "nope").err.startswith("Failure: there is no instance nope")
    assert not master.opcodes()
    assert gnt("instance", "remove", "-f", "--shutdown-timeout=5", "--ignore-failures", "web1") == (0, "", "")
    op = master.opcode()
    assert (op["OP_ID"], op["shutdown_timeout"], op["ignore_failures"]) == ("OP_INSTANCE_REMOVE", 5, True)


def test_migration(gnt: Run, master: FakeMaster) -> None:
    """Mode and target go into the opcode; two ways to say the mode exclude each other."""
    gnt("instance", "migrate", "-f", "-n", "node2", "--non-live", "--no-runtime-changes", "web1")
    op = master.opcode()
    assert (op["target_node"], op["live"], op["mode"], op["allow_runtime_changes"]) == ("node2", False, None, False)
    assert gnt("instance", "migrate", "-f", "--non-live", "--migration-mode=live", "web1").status == 1
    assert gnt("instance", "migrate", "-f", "--migration-mode=fast", "web1").status == 2
    assert gnt("instance", "migrate", "web1").status == 1


DETAILS: dict[str, Any] = {
    "name": "web1",
    "uuid": "u-1",
    "serial_no": 3,
    "ctime": 1_700_000_000.0,
    "mtime": 1_700_000_060.0,
    "config_state": "up",
    "run_state": "down",
    "pnode": "node1",
    "pnode_group_uuid": "g-1",
    "pnode_group_name": "default",
    "snodes": [],
    "os": "busybox",
    "os_instance": {},
    "os_actual": {"kind": "small"},
    "os_private": {},
    "network_port": 11000,
    "hypervisor": "kvm",
    "hv_instance": {"vnc_bind_address": "0.0.0.0"},  # noqa: S104
    "hv_actual": {"acpi": True, "vnc_bind_address": "0.0.0.0"},  # noqa: S104
    "be_instance": {"vcpus": 2},
    "be_actual": {"vcpus": 2, "maxmem": 128},
    "nics": [
        {
            "uuid": "n-1",
            "name": None,
            "mac": "aa:00:00:00:00:01",
            "ip": None,
            "mode": "bridged",
            "link": "br0",
            "vlan": "",
            "network": None,
        }
    ],
    "disk_template": "file",
    "disks": [
        {
            "iv_name": "disk/0",
            "uuid": "d-1",
            "name": None,
            "dev_type": "file",
            "logical_id": ["loop", "/srv/web1/d"],
            "size": 1024,
            "mode": "rw",
            "spindles": None,
            "pstatus": {"path": "/srv/web1/d", "sync_percent": None, "degraded": False, "local_status": "ok"},
            "sstatus": None,
            "children": [],
        }
    ],
    "tags": [],
}


def test_an_instance_is_described(gnt: Run, master: FakeMaster) -> None:
    """The tree of everything that is known about it."""
    master.plans = [Job({"web1": DETAILS})]
    ran = gnt("instance", "info", "web1")
    assert (ran.status, ran.err) == (0, "")
    assert (
        ran.out
        == """\
- Instance name: web1
  UUID: u-1
  Serial number: 3
  Creation time: 2023-11-14 22:13:20
  Modification time: 2023-11-14 22:14:20
  State: configured to be up, actual state is down
  Nodes: ~
    - primary: node1
      group: default (UUID g-1)
    - secondaries: -
  Operating system: busybox
  Operating system parameters: ~
    kind: default (small)
  Allocated network port: 11000
  Hypervisor: kvm
  console connection: vnc to node1:11000 (display 5100)
  Hypervisor parameters: ~
    acpi: default (True)
    vnc_bind_address: 0.0.0.0
  Back-end parameters: ~
    maxmem: default (128)
    vcpus: 2
  NICs: ~
    - nic/0: ~
      MAC: aa:00:00:00:00:01
      IP: None
      mode: bridged
      link: br0
      vlan: ~
      network: None
      UUID: n-1
      name: None
  Disk template: file
  Disks: ~
    - disk/0: file, size 1.0G
      access mode: rw
      logical_id: [loop, /srv/web1/d]
      on primary: /srv/web1/d, status ok
      name: None
      UUID: d-1
""".replace("~\n", "\n")
    )


def test_descriptions_for_programs(gnt: Run, master: FakeMaster) -> None:
    """A list of the details as the master gives them; no instance at all is an error."""
    master.plans = [Job({"web1": DETAILS}), Job({})]
    assert json.loads(gnt("instance", "info", "--json", "-s", "web1").out) == [DETAILS]
    assert master.opcode()["static"] is True
    assert gnt("instance", "info", "--all") == (1, "", "No instances.\n")
    assert gnt("instance", "info").status == 1
    assert gnt("instance", "info", "--all", "web1").status == 1


SSH = {"kind": "ssh", "instance": "web1", "host": "node2", "user": "root", "command": ["virsh", "console", "a b"]}


def test_the_command_of_a_console(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another node through ssh, on this one as it is; GNT_SSH replaces ssh."""
    master.plans = [Job(SSH), Job({**SSH, "host": "node1"}), Job({**SSH, "port": 2222})]
    ran = gnt("instance", "console", "--show-cmd", "web1")
    assert ran.out == "ssh -q -t -oEscapeChar=none root@node2 'virsh console '\"'\"'a b'\"'\"''\n"
    assert gnt("instance", "console", "--show-cmd", "web1").out == "virsh console 'a b'\n"
    monkeypatch.setenv("GNT_SSH", "myssh -v")
    assert gnt("instance", "console", "--show-cmd", "web1").out.startswith("myssh -v -q -t -oEscapeChar=none -p 2222 ")


def test_other_consoles(gnt: Run, master: FakeMaster) -> None:
    """Where to connect to is said; a guest that does not run is an error."""
    screen = {"instance": "web1", "host": "node2", "port": 5901, "display": 1}
    master.plans = [
        Job({"kind": "vnc", **screen}),
        Job({"kind": "spice", **screen}),
        Job({"kind": "msg", "message": "look out of the window"}),
        Job(["OpPrereqError", ["web1 does not run", "wrong_state"]], status="error"),
    ]
    assert gnt("instance", "console", "web1").out.endswith("vnc://node2:5901/ (display 1)\n")
    assert gnt("instance", "console", "web1").out.endswith("spice://node2:5901/\n")
    assert gnt("instance", "console", "web1").out == "look out of the window\n"
    assert gnt("instance", "console", "web1") == (1, "", "Failure: web1 does not run  [wrong_state]\n")
