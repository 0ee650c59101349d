"""The calls about guest operating systems, with real scripts: ours, and Debian's packages unchanged."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.disks import Disks
from gnt.noded.guest_os import GuestOs
from gnt.noded.os_environment import create_environment
from gnt.noded.processes import Processes
from gnt.noded.storage.registry import real_templates
from gnt.wire.calls import DiskCreate, NodeCall, OsCheck, OsCreate, OsFacts, OsList, OsRename
from tests.noded.os_kit import make_definition, web1
from tests.noded.places import ThreadPool, begin, place_below

PACKAGED = Path("/usr/share/ganeti/os")


class GuestOsTests(TestCase):
    """A node below a temporary directory; the machine's own definitions come after its own."""

    def setUp(self) -> None:
        """Make the node and its part."""
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.root = Path(kept.name)
        place = place_below(self.root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
        self.definitions = self.root / "srv/ganeti/os"
        self.storage = place.layout.default_file_storage()
        self.storage.mkdir(parents=True)
        processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
        self.disks = Disks(place, real_templates(place, processes))
        self.part = GuestOs(place, processes, self.disks)
        self.logs = place.layout.os_log

    async def ask(self, call: NodeCall[Any]) -> Any:
        """Let the part answer."""
        return await begin(self.part, call)

    async def refused(self, call: NodeCall[Any]) -> NodeFailure:
        """Let the part refuse."""
        with pytest.raises(NodeFailure) as caught:
            await self.ask(call)
        return caught.value

    async def installed(self, **changes: Any) -> InstanceSpec:
        """Describe an instance, and make its disks."""
        instance = web1(self.storage, **changes)
        for disk in instance.disks:
            await begin(self.disks, DiskCreate(disk=disk))
        return instance

    async def test_list(self) -> None:
        """All definitions of the node, broken ones too, with their diagnosis."""
        make_definition(self.definitions, "try", 20, variants_list="small\n")
        make_definition(self.definitions, "broken", 10, rename=None)
        found: list[OsFacts] = await self.ask(OsList())
        own = {facts.name: facts for facts in found if facts.path.startswith(str(self.root))}
        assert own["try"].valid
        assert "'rename'" in own["broken"].diagnose

    async def test_create_gets_exactly_its_environment(self) -> None:
        """Nothing more and nothing less reaches the script; it runs in its directory; the log is named and private."""
        path = make_definition(
            self.definitions, "try", 20, create="env -0 > env; pwd; echo to-stderr >&2\n", variants_list="small\n"
        )
        instance = await self.installed()
        await self.ask(OsCreate(instance=instance))
        facts = next(facts for facts in await self.ask(OsList()) if facts.path == str(path))
        told = dict(part.split("=", 1) for part in (path / "env").read_text().split("\0") if part)
        devices = await self.disks.devices(instance.disks)
        # bash itself sets these, whatever it is given
        for name in ("PWD", "SHLVL", "_", "OLDPWD"):
            told.pop(name, None)
        assert told == create_environment(facts, instance, devices, reinstall=False)
        (log,) = self.logs.iterdir()
        assert log.read_text() == f"{path}\nto-stderr\n"
        assert log.stat().st_mode & 0o777 == 0o600
        stamp = r"\d{4}-\d\d-\d\d_\d\d_\d\d_\d\d"
        assert re.fullmatch(rf"add-try\+small-web1\.example\.com-{stamp}\.log", log.name)

    async def test_a_failing_script_says_its_last_lines(self) -> None:
        """Exit code and twenty lines, without the private values that the script printed."""
        make_definition(
            self.definitions,
            "try",
            20,
            create='for i in $(seq 30); do echo line $i; done; echo "password $OSP_ROOT_PASSWORD"; exit 4\n',
        )
        failure = await self.refused(OsCreate(instance=await self.installed()))
        assert failure.code == "script_failed"
        first, *lines = failure.text.splitlines()
        assert first == "OS create script failed (exited with exit code 4), last lines in the log file:"
        assert lines == [*(f"line {number}" for number in range(12, 31)), "password <redacted>"]

    async def test_rename_is_told_the_old_name(self) -> None:
        """Beside what create gets; it has a log of its own; a failure says its last lines."""
        path = make_definition(
            self.definitions,
            "try",
            20,
            rename='echo "$OLD_INSTANCE_NAME $INSTANCE_NAME" >told\n',
        )
        instance = await self.installed()
        await self.ask(OsRename(instance=instance, old_name="web0.example.com"))
        assert (path / "told").read_text() == "web0.example.com web1.example.com\n"
        (log,) = self.logs.iterdir()
        assert log.name.startswith("rename-try+small-web0.example.com-web1.example.com-")
        (path / "rename").write_text("#!/bin/bash\necho other name; exit 3\n")
        failure = await self.refused(OsRename(instance=instance, old_name="web0.example.com"))
        assert failure.text.startswith("OS rename script failed (exited with exit code 3)")
        assert "other name" in failure.text

    async def test_create_needs_the_disks(self) -> None:
        """A disk that is not assembled is named before any script runs."""
        make_definition(self.definitions, "try", 20, create="touch ran\n")
        failure = await self.refused(OsCreate(instance=web1(self.storage)))
        assert failure.code == "not_found"
        assert not (self.definitions / "try/ran").exists()

    async def test_definitions_that_cannot_be_installed(self) -> None:
        """Missing, broken, untrusted: each in words."""
        make_definition(self.definitions, "broken", 10, rename=None)
        make_definition(self.definitions, "untrusted", 20, create=None, create_untrusted="exit 0\n")
        for name, code in {"none": "not_found", "broken": "invalid_os", "untrusted": "unsupported"}.items():
            assert (await self.refused(OsCreate(instance=web1(self.storage, os=name)))).code == code

    async def test_an_image_is_refused_by_name(self) -> None:
        """The reserved parameter is not ignored."""
        make_definition(self.definitions, "try", 20)
        instance = await self.installed(osparams={"os-image": "http://example.com/image"})
        assert "os-image" in (await self.refused(OsCreate(instance=instance))).text
        assert "os-image" in (await self.refused(OsCheck(os="try", parameters={"os-image": "x"}))).text

    async def test_without_an_os_nothing_runs(self) -> None:
        """An empty OS installs nothing."""
        await self.ask(OsCreate(instance=web1(self.storage, os="")))
        assert not self.logs.exists()

    async def test_check(self) -> None:
        """Name, variant, parameters and the definition's own opinion."""
        make_definition(
            self.definitions,
            "try",
            20,
            variants_list="small\n",
            verify='[ "$*" = parameters ] && [ "$OSP_FILESYSTEM" = ext4 ] || { echo bad; echo worse >&2; exit 1; }\n',
        )
        good = {"filesystem": "ext4"}
        await self.ask(OsCheck(os="try+small", parameters=good))
        await self.ask(OsCheck(os="try+unlisted", parameters=good, force_variant=True))
        for call, text in (
            (OsCheck(os="try", parameters=good), "must include a variant"),
            (OsCheck(os="try+unlisted", parameters=good), "has no variant"),
            (OsCheck(os="try+small", parameters={"other": "x"}), "not supported by the OS try: other"),
            (OsCheck(os="try+small", parameters={"filesystem": "ext9"}), "exit code 1): bad\nworse"),
            (OsCheck(os="none", parameters={}), "Directory for OS none not found in search path"),
        ):
            assert text in (await self.refused(call)).text

    async def test_what_a_check_says_of_a_secret_is_not_told(self) -> None:
        """The script may say what it was given; the failure goes into a job, where everybody reads it."""
        make_definition(
            self.definitions, "try", 20, variants_list="small\n", verify='echo "bad: $OSP_FILESYSTEM" >&2; exit 1\n'
        )
        check = OsCheck(os="try+small", parameters={"filesystem": "hush-hush"}, hidden=["filesystem", "unknown"])
        text = (await self.refused(check)).text
        assert "hush-hush" not in text
        assert "bad: <redacted>" in text

    async def test_a_missing_definition_that_is_not_required(self) -> None:
        """Other nodes than the primary one may lack it, but not have a broken one."""
        await self.ask(OsCheck(os="none", parameters={}, required=False))
        make_definition(self.definitions, "broken", 10, rename=None)
        assert (await self.refused(OsCheck(os="broken", parameters={}, required=False))).code == "invalid_os"

    async def test_an_old_definition_is_not_asked(self) -> None:
        """API 10 has no verify and takes any parameters."""
        make_definition(self.definitions, "old", 10)
        await self.ask(OsCheck(os="old", parameters={"x": "y"}))

    async def test_packaged_noop(self) -> None:
        """ganeti-os-noop, unchanged: found, checked, installed."""
        if not (PACKAGED / "noop").is_dir():
            pytest.skip("the package ganeti-os-noop is not installed")
        facts = next(facts for facts in await self.ask(OsList()) if facts.path == str(PACKAGED / "noop"))
        assert (facts.valid, facts.api_versions, facts.variants) == (True, [5, 10], [])
        await self.ask(OsCheck(os="noop", parameters={}))
        await self.ask(OsCreate(instance=await self.installed(os="noop")))
        assert len(list(self.logs.iterdir())) == 1

    async def test_packaged_debootstrap_is_diagnosed_and_verifies(self) -> None:
        """ganeti-instance-debootstrap, unchanged: valid, with its variant; its verify accepts and refuses."""
        if not (PACKAGED / "debootstrap").is_dir():
            pytest.skip("the package ganeti-instance-debootstrap is not installed")
        facts = next(facts for facts in await self.ask(OsList()) if facts.path == str(PACKAGED / "debootstrap"))
        assert (facts.valid, facts.api_versions) == (True, [20, 15, 10, 5])
        assert "default" in facts.variants
        assert [name for name, _ in facts.parameters] == ["filesystem"]
        await self.ask(OsCheck(os="debootstrap+default", parameters={"filesystem": "ext4"}))
        failure = await self.refused(OsCheck(os="debootstrap+default", parameters={"filesystem": "ntfs"}))
        assert "Invalid value 'ntfs' for the filesystem parameter" in failure.text

    async def test_packaged_debootstrap_refuses_a_small_disk(self) -> None:
        """Its create script runs and says itself what it does not like, in the failure's text."""
        if not (PACKAGED / "debootstrap").is_dir() or os.geteuid() != 0:
            pytest.skip("needs root and the package ganeti-instance-debootstrap")
        failure = await self.refused(OsCreate(instance=await self.installed(os="debootstrap+default", osparams={})))
        assert failure.text.startswith("OS create script failed (exited with exit code")

    async def test_packaged_debootstrap_installs(self) -> None:
        """A whole Debian guest: some minutes, root and a mirror, so only when GNT_TEST_DEBOOTSTRAP names a variant."""
        variant = os.environ.get("GNT_TEST_DEBOOTSTRAP")
        if not variant:
            pytest.skip("set GNT_TEST_DEBOOTSTRAP to a variant to install a Debian guest")
        instance = web1(self.storage, os=f"debootstrap+{variant}", osparams={}, osparams_private={}, nics=())
        disk = msgspec.structs.replace(instance.disks[0], size=1500)
        instance = msgspec.structs.replace(instance, disks=(disk,))
        await begin(self.disks, DiskCreate(disk=disk))
        await self.ask(OsCreate(instance=instance))
        (device,) = await self.disks.devices(instance.disks)
        assert os.stat(device.path).st_blocks > 0  # noqa: PTH116

    test_packaged_debootstrap_installs.timeout = 1800  # type: ignore[attr-defined]
