"""Where another Ganeti lives, nothing of ours starts."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnt.daemon.foreign import refuse_foreign
from gnt.model.errors import ENVIRONMENT, Refused
from gnt.model.layout import Layout
from gnt.wire.certificates import Identity, make_authority, make_key, make_request, sign_node

NOW = 1_700_000_000.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a machine with an empty data directory."""
    found = Layout(tmp_path)
    found.data.mkdir(parents=True)
    found.run.mkdir(parents=True)
    return found


def node_identity(authority: Identity) -> bytes:
    """Give key and certificate of a node."""
    source = random.Random(1)  # noqa: S311
    key = make_key()
    request = make_request(key, "node1")
    return key + sign_node(authority, request, name="node1", uuid="u", addresses=[], now=NOW, source=source)


def authority(seed: int) -> Identity:
    """Give an authority."""
    return make_authority("cluster", now=NOW, source=random.Random(seed))  # noqa: S311


def refusal(layout: Layout, **options: Any) -> str:
    """Give the one line with which a machine is refused."""
    with pytest.raises(Refused) as caught:
        refuse_foreign(layout, **options)
    assert caught.value.code == ENVIRONMENT
    assert caught.value.hint
    assert "\n" not in caught.value.text
    return caught.value.text


def test_an_empty_machine_passes(layout: Layout) -> None:
    """Nothing there yet; also without any directory."""
    refuse_foreign(layout)
    refuse_foreign(Layout(layout.root / "nothing"))


@pytest.mark.parametrize("name", ["config.data", "ssconf_master_node", "hmac.key", "queue/serial", "client.pem"])
def test_a_data_directory_of_ganeti(layout: Layout, name: str) -> None:
    """Each of its files alone is enough, and is named."""
    (layout.data / name).parent.mkdir(exist_ok=True)
    (layout.data / name).write_text("{}")
    assert refusal(layout) == f"{layout.data} was made by another program: it has {name}"


@pytest.mark.parametrize("ours", ["config.db", "membership.json"])
def test_our_own_files_beside_what_we_write_for_others(layout: Layout, ours: str) -> None:
    """config.data and ssconf are written by us too, where our own files stand beside them."""
    for name in (ours, "config.data", "ssconf_master_node"):
        (layout.data / name).write_text("")
    refuse_foreign(layout)


def test_a_certificate_of_another_program(layout: Layout) -> None:
    """A server.pem without our authority beside it, or signed by another one."""
    layout.node_pem.write_bytes(node_identity(authority(1)))
    assert "server.pem is not a certificate of this cluster's authority" in refusal(layout)
    layout.authority_certificate.write_bytes(authority(2).certificate)
    assert "server.pem is not a certificate" in refusal(layout)
    layout.node_pem.write_text("-----BEGIN PRIVATE KEY-----\n")
    assert "server.pem is not a certificate" in refusal(layout)


def test_our_own_certificate_passes(layout: Layout) -> None:
    """Signed by the authority beside it."""
    signer = authority(1)
    layout.node_pem.write_bytes(node_identity(signer))
    layout.authority_certificate.write_bytes(signer.certificate)
    refuse_foreign(layout)


def enabled_unit(root: Path) -> None:
    """Enable a unit as systemctl does: a link to the packaged file."""
    (root / "lib/systemd/system").mkdir(parents=True)
    (root / "lib/systemd/system/ganeti-noded.service").write_text("[Service]\n")
    (root / "etc/systemd/system/ganeti.target.wants").mkdir(parents=True)
    link = root / "etc/systemd/system/ganeti.target.wants/ganeti-noded.service"
    link.symlink_to("/lib/systemd/system/ganeti-noded.service")


def cron_job(root: Path) -> None:
    """Install the watcher with its cron job."""
    for name in ("etc/cron.d/ganeti", "usr/sbin/ganeti-watcher"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("")


def start_script(root: Path) -> None:
    """Install the daemon with its start script."""
    for name in ("etc/rc2.d/S01ganeti", "usr/sbin/ganeti-noded"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("")


@pytest.mark.parametrize(
    ("enable", "text"),
    [
        (enabled_unit, "the unit ganeti-noded.service is enabled"),
        (cron_job, "runs ganeti-watcher"),
        (start_script, "S01ganeti is enabled"),
    ],
)
def test_ganeti_that_is_enabled(layout: Layout, enable: Callable[[Path], None], text: str) -> None:
    """Whatever would start it by itself is named."""
    enable(layout.root)
    assert text in refusal(layout)


def test_what_a_removed_package_left_is_nothing(layout: Layout) -> None:
    """A dangling link, a masked unit, a cron file without its program."""
    wants = layout.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "ganeti.service").symlink_to("/lib/systemd/system/ganeti.service")
    (wants / "ganeti.target").symlink_to("/dev/null")
    (layout.root / "etc/cron.d").mkdir()
    (layout.root / "etc/cron.d/ganeti").write_text("")
    refuse_foreign(layout)


def test_a_daemon_that_runs(layout: Layout, tmp_path: Path) -> None:
    """Known by its pid file and its command line."""
    proc = tmp_path / "proc"
    (proc / "77").mkdir(parents=True)
    (proc / "77/cmdline").write_bytes(b"/usr/bin/python3\0/usr/sbin/ganeti-noded\0")
    (layout.run / "ganeti-noded.pid").write_text("77\n")
    assert refusal(layout, proc=proc).endswith("ganeti-noded runs as process 77")


def test_a_stale_pid_file_is_nothing(layout: Layout) -> None:
    """The process is gone, is another program, or the file is nonsense."""
    for text in ("999999999\n", f"{os.getpid()}\n", "x\n", ""):
        (layout.run / "ganeti-rapi.pid").write_text(text)
        refuse_foreign(layout)
