"""How the master daemon refuses to start, before it detaches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from twisted.python import usage

from gnt.daemon.config_view import write_config_data
from gnt.masterd import tap
from gnt.masterd.high_water import record
from gnt.model.epoch import START, Epoch, Position
from gnt.model.initial import Identities, new_cluster
from gnt.model.layout import Layout
from gnt.store.changes import Entry
from gnt.store.configuration import initial_changes
from gnt.store.reading import is_older
from gnt.store.vault import FileVault

HOST = "node1.example.com"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Give a root in which this node is called node1 and is told nothing yet."""
    monkeypatch.setenv("GNT_ROOTDIR", str(tmp_path))
    monkeypatch.setenv("GNT_HOSTNAME", HOST)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text(f"127.0.0.71 {HOST}\n")
    return Layout(tmp_path)


def stored(layout: Layout, master: str) -> None:
    """Put a store there whose only node has this name."""
    layout.data.mkdir(parents=True)
    identities = Identities(cluster="c" * 8, node="n" * 8, group="g" * 8)
    cluster = new_cluster(
        name="cluster.example.com", node_name=master, primary_ip="127.0.0.71", identities=identities, now=1.0
    )
    changes = initial_changes(cluster)
    epoch = Epoch(number=1, node="n" * 8)
    entry = Entry(Position(epoch=epoch, serial=1), 1.0, changes, (0,) * len(changes))
    database = FileVault(layout.config_db).create("c" * 8)
    database.append(START, [entry], epoch=epoch, committed=1)
    database.close()


def exit_code(monkeypatch: pytest.MonkeyPatch) -> int:
    """Try to make the service, and give the exit status of the program."""
    monkeypatch.setattr(tap, "refuse_foreign", lambda _layout: None)
    options = tap.Options()
    options.parseOptions([])
    with pytest.raises(SystemExit) as ended:
        tap.makeService(options)
    return int(ended.value.code or 0)


def test_a_machine_that_is_no_node(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 5, and what to do."""
    assert exit_code(monkeypatch) == 5
    assert "gnt-cluster init" in capsys.readouterr().err
    assert not layout.run.exists()


def test_a_node_without_the_configuration_is_not_the_master(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 11."""
    layout.data.mkdir(parents=True)
    layout.node_pem.write_text("")
    assert exit_code(monkeypatch) == 11
    assert f"{HOST} is not the master" in capsys.readouterr().err


def test_another_node_is_the_master(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 11, and who it is."""
    stored(layout, "node2.example.com")
    layout.node_pem.write_text("")
    assert exit_code(monkeypatch) == 11
    assert capsys.readouterr().err == f"gnt-masterd: {HOST} is not the master, node2.example.com is\n"


def test_a_name_that_does_not_resolve(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 12."""
    monkeypatch.setenv("GNT_HOSTNAME", "nowhere.invalid")
    stored(layout, "nowhere.invalid")
    layout.node_pem.write_text("")
    assert exit_code(monkeypatch) == 12
    assert "nowhere.invalid does not resolve" in capsys.readouterr().err


def test_a_store_of_another_version(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, one line, and the file is as it was."""
    layout.data.mkdir(parents=True)
    layout.node_pem.write_text("")
    layout.config_db.write_bytes(b"something else")
    assert exit_code(monkeypatch) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert layout.config_db.read_bytes() == b"something else"


def test_a_certificate_that_cannot_be_used(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, naming the file."""
    stored(layout, HOST)
    layout.node_pem.write_text("garbage")
    layout.authority_certificate.write_text("garbage")
    assert exit_code(monkeypatch) == 1
    said = capsys.readouterr().err
    assert layout.node_pem.name in said or layout.authority_certificate.name in said


@pytest.mark.parametrize("option", ["--yes-do-it", "--port=5", "--bind=127.0.0.1"])
def test_options_that_this_daemon_does_not_have_are_refused_by_name(option: str) -> None:
    """Not ignored."""
    with pytest.raises(usage.UsageError, match=option.partition("=")[0]):
        tap.Options().parseOptions([option])


def test_an_edited_view_of_the_configuration(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no effect, so it is refused with what has; what is as it was written, or the one before, is not."""
    stored(layout, HOST)
    layout.node_pem.write_text("")
    write_config_data(layout, '{"serial_no": 1}')
    write_config_data(layout, '{"serial_no": 2}')
    log = layout.log / tap.LOG_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    for content, refused in (("1", False), ("2", False), ("3", True)):
        layout.config_data.write_text(f'{{"serial_no": {content}}}')
        exit_code(monkeypatch)
        told = capsys.readouterr().err
        assert ("was edited or put back" in told) == refused
        assert ("gnt-cluster restore" in told) == refused
        assert (f"ERROR it does not start: {layout.config_data} was edited" in log.read_text()) == refused
    layout.config_data.unlink()
    exit_code(monkeypatch)
    assert "was edited" not in capsys.readouterr().err


def test_an_older_copy_of_the_store(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused where nobody else has the log; the mark does not go back, and says nothing of another cluster."""
    stored(layout, HOST)
    layout.node_pem.write_text("")
    copy = layout.config_db.read_bytes()
    database = FileVault(layout.config_db).open()
    database.append(database.end, [Entry(Position(epoch=database.end.epoch, serial=2), 2.0, (), ())], committed=2)
    database.close()
    record(layout)
    exit_code(monkeypatch)
    assert "older copy" not in capsys.readouterr().err
    layout.config_db.write_bytes(copy)
    record(layout)
    exit_code(monkeypatch)
    told = capsys.readouterr().err
    assert "is an older copy: it ends with entry 1 of epoch 1, this node had entry 2 of epoch 1" in told
    assert "gnt-cluster backup" in told
    layout.high_water.write_text(layout.high_water.read_text().replace("c" * 8, "d" * 8))
    exit_code(monkeypatch)
    assert "older copy" not in capsys.readouterr().err


def test_a_store_of_an_older_release_is_brought_over(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else reads it."""
    layout.data.mkdir(parents=True)
    layout.node_pem.write_text("")
    shutil.copy(Path(__file__).parent.parent / "store/data/version-1.db", layout.config_db)
    assert is_older(layout.config_db)
    # The certificates, which are looked at later, are what is missing.
    assert exit_code(monkeypatch) == 1
    assert not is_older(layout.config_db)
