"""gnt-cluster modify and gnt-os modify: options become the opcode, mistakes are refused before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (("-C", "5", "--max-running-jobs", "40"), {"candidate_pool_size": 5, "max_running_jobs": 40}),
        (("-B", "maxmem=1g,auto_balance=no"), {"beparams": {"maxmem": "1g", "auto_balance": "no"}}),
        (
            ("-H", "kvm:acpi=no", "-H", "fake:"),
            {"hvparams": {"kvm": {"acpi": "no"}, "fake": {}}},
        ),
        (("-D", "plain:stripes=2"), {"diskparams": {"plain": {"stripes": "2"}}}),
        (("--enabled-hypervisors", "kvm,fake"), {"enabled_hypervisors": ["kvm", "fake"]}),
        (("--vg-name", ""), {"vg_name": ""}),
        (("--reserved-lvs", ""), {"reserved_lvs": []}),
        (("--uid-pool", "1-3,7"), {"uid_pool": [[1, 3], [7, 7]]}),
        (("--add-uids", "9", "--remove-uids", "1"), {"add_uids": [[9, 9]], "remove_uids": [[1, 1]]}),
        (("--ipolicy-vcpu-ratio", "2"), {"ipolicy": {"vcpu-ratio": 2.0}}),
        (("--user-shutdown", "yes", "-m", "aa:00:01"), {"enabled_user_shutdown": True, "mac_prefix": "aa:00:01"}),
        (("--enabled-data-collectors", "lv=no,drbd=yes"), {"enabled_data_collectors": {"lv": False, "drbd": True}}),
        (("--data-collector-interval", "lv=0.5"), {"data_collector_interval": {"lv": 500_000}}),
    ],
)
def test_options_become_the_opcode(
    gnt: Run, master: FakeMaster, words: tuple[str, ...], fields: dict[str, Any]
) -> None:
    """Those that are given, and no others."""
    assert gnt("cluster", "modify", *words).status == 0
    opcode = master.opcode()
    assert opcode["OP_ID"] == "OP_CLUSTER_SET_PARAMS"
    given = {name: value for name, value in opcode.items() if name in fields}
    assert given == fields
    assert opcode.get("nicparams") is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "at least one parameter"),
        (("--force",), "at least one parameter"),
        (("-H", "no_kvm"), "taken back one by one"),
        (("-H", "kvm:acpi=no", "-H", "kvm:acpi=yes"), "given twice"),
        (("--data-collector-interval", "lv=often"), "number of seconds"),
        (("-C", "0"), "must be"),
        (("--no-lvm-storage",), "--vg-name=''"),
        (("--specs-mem-size", "min=1"), "--ipolicy-bounds-specs"),
    ],
)
def test_mistakes_submit_nothing(gnt: Run, master: FakeMaster, words: tuple[str, ...], text: str) -> None:
    """One line that names the option."""
    ran = gnt("cluster", "modify", *words)
    assert ran.status != 0
    assert text in ran.err
    assert master.opcodes() == []


def test_what_goes_with_a_guest_os(gnt: Run, master: FakeMaster) -> None:
    """Parameters by hypervisor, parameters of the definition, and whether it is shown and allowed."""
    words = ("-H", "kvm:acpi=no", "-H", "no_fake", "-O", "size=4", "--hidden=yes", "--blacklisted=no")
    assert gnt("os", "modify", *words, "--os-parameters-private", "key=s3cret", "debian").status == 0
    opcode = master.opcode()
    assert opcode["os_hvp"] == {"debian": {"kvm": {"acpi": "no"}, "fake": None}}
    assert opcode["osparams"] == {"debian": {"size": "4"}}
    assert opcode["osparams_private_cluster"] == {"debian": {"key": "s3cret"}}
    assert (opcode["hidden_os"], opcode["blacklisted_os"]) == ([["add", "debian"]], [["remove", "debian"]])
    assert "at least one parameter" in gnt("os", "modify", "debian").err
