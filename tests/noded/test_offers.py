"""What a node offers: exports by name, external storage providers with what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.model.errors import NodeFailure
from gnt.noded.offers import Offers, export_names
from gnt.noded.storage.providers import REQUIRED, find_provider, list_providers, read_provider
from gnt.wire.calls import NodeCall
from gnt.wire.disk_calls import ProviderList
from gnt.wire.offer_calls import ExportList
from tests.noded.places import context, place_below


def make_provider(place: Path, name: str, **files: str | None) -> Path:
    """Write a provider whose scripts end well; `files` replaces some of them, None leaves one out."""
    directory = place / name
    directory.mkdir(parents=True)
    texts: dict[str, str | None] = {**dict.fromkeys(REQUIRED, "exit 0\n"), "parameters.list": "pool where to put it\n"}
    texts |= {key.replace("_list", ".list"): text for key, text in files.items()}
    for key, text in texts.items():
        if text is not None:
            (directory / key).write_text(text if key.endswith(".list") else f"#!/bin/sh\n{text}")
            (directory / key).chmod(0o644 if key.endswith(".list") else 0o755)
    return directory


def ask(root: Path, call: NodeCall[Any]) -> Any:
    """Let a node below `root` answer."""
    part = Offers(place_below(root))
    return SynchronousTestCase().successResultOf(ensureDeferred(part.handlers()[type(call)](call, context())))


def test_a_whole_provider(tmp_path: Path) -> None:
    """Parameters as the file has them; comments and empty lines aside, a description may be missing."""
    path = make_provider(
        tmp_path, "san", parameters_list="# ours\npool  where to put it\n\nfast\n", snapshot="exit 0\n"
    )
    facts = read_provider("san", path)
    assert (facts.valid, facts.diagnose, facts.path) == (True, "", str(path))
    assert facts.parameters == [("pool", "where to put it"), ("fast", "")]


@pytest.mark.parametrize("script", REQUIRED)
def test_each_script_is_needed(tmp_path: Path, script: str) -> None:
    """Without one of them the provider cannot be used, and that one is named."""
    facts = read_provider("san", make_provider(tmp_path, "san", **{script: None}))
    assert not facts.valid
    assert facts.diagnose == f"File '{script}' under path '{tmp_path / 'san'}' is missing"


def test_what_else_is_wrong_with_a_provider(tmp_path: Path) -> None:
    """A list that is missing, a script that cannot run, an optional one likewise, a directory in place of a file."""
    missing = read_provider("a", make_provider(tmp_path, "a", parameters_list=None))
    assert "parameters.list" in missing.diagnose
    plain = make_provider(tmp_path, "b")
    (plain / "grow").chmod(0o644)
    assert "'grow'" in read_provider("b", plain).diagnose
    assert "not executable" in read_provider("b", plain).diagnose
    optional = make_provider(tmp_path, "c", snapshot="exit 0\n")
    (optional / "snapshot").chmod(0o644)
    assert "'snapshot'" in read_provider("c", optional).diagnose
    place = make_provider(tmp_path, "d", open=None)
    (place / "open").mkdir()
    assert "not a regular file" in read_provider("d", place).diagnose


def test_providers_in_search_order(tmp_path: Path) -> None:
    """The first of a name wins, the second is listed too; hidden directories and files are none."""
    first, second = tmp_path / "first", tmp_path / "second"
    make_provider(first, "san", parameters_list=None)
    make_provider(second, "san")
    make_provider(second, "zfs")
    make_provider(second, ".old")
    (second / "README").write_text("no provider")
    found = list_providers([first, second, tmp_path / "nowhere"])
    assert [(facts.name, facts.valid) for facts in found] == [("san", False), ("san", True), ("zfs", True)]
    assert not find_provider([first, second], "san").valid
    assert find_provider([first, second], "zfs").valid
    for name in ("nope", "", "../first/san", ".old"):
        assert not find_provider([first, second], name).path


def test_the_node_lists_its_providers(tmp_path: Path) -> None:
    """Those below its own root, wherever in the search path."""
    make_provider(tmp_path / "usr/share/ganeti/extstorage", "san")
    assert ("san", True) in [(facts.name, facts.valid) for facts in ask(tmp_path, ProviderList())]


def test_the_node_lists_its_exports(tmp_path: Path) -> None:
    """Sorted, without what is hidden; before the first export there is no directory and no export."""
    assert ask(tmp_path, ExportList()) == []
    for name in ("web2.example.com", "web1.example.com.new", ".old"):
        (tmp_path / "srv/ganeti/export" / name).mkdir(parents=True)
    assert ask(tmp_path, ExportList()) == ["web1.example.com.new", "web2.example.com"]


def test_exports_that_cannot_be_listed(tmp_path: Path) -> None:
    """What stands in the way is a failure that names the place; a name that is no Unicode can still be shown."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NodeFailure, match=r"Cannot list .*file"):
        export_names(tmp_path / "file")
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "w\udce4b").mkdir()
    assert export_names(tmp_path / "exports") == ["w?b"]
