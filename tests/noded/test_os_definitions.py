"""Guest OS definitions: what is valid, what is wrong with the others, which one wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnt.model.errors import NodeFailure
from gnt.noded.os_definitions import (
    check_parameters,
    check_variant,
    find_definition,
    list_definitions,
    read_definition,
    split_os,
    version_of,
)
from tests.noded.os_kit import make_definition


def test_a_whole_definition(tmp_path: Path) -> None:
    """Versions, variants and parameters as the files have them; comments and empty lines aside."""
    path = make_definition(tmp_path, "deb", 20, 15, 10, 5, variants_list="small\n\n# big is gone\n big2 \n")
    facts = read_definition("deb", path)
    assert (facts.valid, facts.diagnose, facts.trusted) == (True, "", True)
    assert facts.api_versions == [20, 15, 10, 5]
    assert facts.variants == ["small", "big2"]
    assert facts.parameters == [("filesystem", "what is made"), ("swap-size", "MiB of swap")]
    assert version_of(facts) == 20


def test_an_old_definition_has_neither_variants_nor_parameters(tmp_path: Path) -> None:
    """API 10 is not asked for files that it does not know, even if they are there."""
    path = make_definition(tmp_path, "old", 5, 10, variants_list="x\n", parameters_list="y z\n")
    facts = read_definition("old", path)
    assert (facts.valid, facts.variants, facts.parameters, version_of(facts)) == (True, [], [], 10)


def test_api_15_without_a_list_has_no_variants(tmp_path: Path) -> None:
    """The list is optional, an empty one is none."""
    assert read_definition("a", make_definition(tmp_path, "a", 15)).valid
    assert read_definition("b", make_definition(tmp_path, "b", 15, variants_list="")).variants == []


def test_an_unknown_newer_version_beside_a_known_one(tmp_path: Path) -> None:
    """The highest common version is used; what the newest wants must be there."""
    assert version_of(read_definition("a", make_definition(tmp_path, "a", 25, 15))) == 15
    path = make_definition(tmp_path, "b", 25, 15, verify=None)
    assert "File 'verify'" in read_definition("b", path).diagnose


def _no_version(path: Path) -> None:
    (path / "ganeti_api_version").unlink()


def _version_directory(path: Path) -> None:
    (path / "ganeti_api_version").unlink()
    (path / "ganeti_api_version").mkdir()


def _version(text: str) -> Callable[[Path], Any]:
    return lambda path: (path / "ganeti_api_version").write_text(text)


def _script_directory(path: Path) -> None:
    (path / "import").unlink()
    (path / "import").mkdir()


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (_no_version, "Required file 'ganeti_api_version' not found under path {path}: No such file or directory"),
    (_version_directory, "File 'ganeti_api_version' in {path} is not a regular file"),
    (
        _version("10\nten\n"),
        "API version(s) can't be converted to integer: invalid literal for int() with base 10: 'ten'",
    ),
    (_version("5\n"), "API version mismatch for path '{path}': found [5], want [10, 15, 20]."),
    (_version(""), "API version mismatch for path '{path}': found [], want [10, 15, 20]."),
    (
        lambda path: (path / "rename").unlink(),
        "File 'rename' under path '{path}' is missing (No such file or directory)",
    ),
    (_script_directory, "File 'import' under path '{path}' is not a regular file"),
    (lambda path: (path / "export").chmod(0o644), "File 'export' under path '{path}' is not executable"),
    (
        lambda path: (path / "create").unlink(),
        "A create script (trusted or untrusted) under path '{path}' must exist",
    ),
    (
        lambda path: (path / "parameters.list").unlink(),
        "File 'parameters.list' under path '{path}' is missing (No such file or directory)",
    ),
]


@pytest.mark.parametrize(("breaking", "text"), BROKEN)
def test_what_is_wrong_is_said(tmp_path: Path, breaking: Callable[[Path], Any], text: str) -> None:
    """Each fault in the words that administrators know."""
    path = make_definition(tmp_path, "deb", 20)
    breaking(path)
    facts = read_definition("deb", path)
    assert (facts.valid, facts.diagnose) == (False, text.format(path=path))


def test_an_untrusted_create_script_is_valid(tmp_path: Path) -> None:
    """It is listed as valid and marked."""
    facts = read_definition("u", make_definition(tmp_path, "u", 20, create=None, create_untrusted="exit 0\n"))
    assert (facts.valid, facts.trusted) == (True, False)


def test_the_first_directory_wins_and_the_others_are_listed(tmp_path: Path) -> None:
    """Shadowed ones appear later in the list; hidden names and plain files never; missing places are empty."""
    first, second = tmp_path / "1", tmp_path / "2"
    make_definition(second, "deb", 10)
    make_definition(first, "deb", 20)
    make_definition(first, ".hidden", 20)
    (second / "README").write_text("no definition")
    search = (tmp_path / "missing", first, second)
    assert [(facts.name, facts.path) for facts in list_definitions(search)] == [
        ("deb", f"{first}/deb"),
        ("deb", f"{second}/deb"),
    ]
    assert find_definition(search, "deb").path == f"{first}/deb"


@pytest.mark.parametrize("name", ["none", "", ".", "..", ".hidden", "../1/deb", "a/b"])
def test_a_name_that_is_not_there(tmp_path: Path, name: str) -> None:
    """No way out of the search path."""
    make_definition(tmp_path / "1", "deb", 10)
    make_definition(tmp_path / "1", ".hidden", 10)
    facts = find_definition((tmp_path / "1",), name)
    assert (facts.valid, facts.diagnose) == (False, f"Directory for OS {name} not found in search path")


def test_names_split_at_the_first_plus() -> None:
    """A variant may have a plus of its own."""
    assert split_os("deb+a+b") == ("deb", "a+b")
    assert split_os("deb") == ("deb", "")


@pytest.mark.parametrize(
    ("listed", "text", "message"),
    [
        ("small\n", "deb", "OS name 'deb' must include a variant"),
        ("small\n", "deb+", "OS name 'deb+' must include a variant"),
        ("small\n", "deb+big", "OS 'deb' has no variant 'big'"),
        (None, "deb+v", "OS 'deb' does not support variants ('v' passed)"),
    ],
)
def test_variants_that_are_refused(tmp_path: Path, listed: str | None, text: str, message: str) -> None:
    """With variants one of them must be named, without none."""
    facts = read_definition("deb", make_definition(tmp_path, "deb", 20, variants_list=listed))
    with pytest.raises(NodeFailure) as caught:
        check_variant(facts, text)
    assert caught.value.text == message


def test_variants_that_fit(tmp_path: Path) -> None:
    """The others pass."""
    check_variant(read_definition("a", make_definition(tmp_path, "a", 15, variants_list="x\n")), "a+x")
    check_variant(read_definition("b", make_definition(tmp_path, "b", 10)), "b")


def test_unknown_parameters_are_refused_for_api_20_only(tmp_path: Path) -> None:
    """Older definitions take no parameters and are not asked."""
    new = read_definition("new", make_definition(tmp_path, "new", 20))
    check_parameters(new, {"filesystem": "ext4"})
    with pytest.raises(NodeFailure) as caught:
        check_parameters(new, {"b": "", "filesystem": "", "a": ""})
    assert caught.value.text == "The following parameters are not supported by the OS new: a, b"
    check_parameters(read_definition("old", make_definition(tmp_path, "old", 10)), {"a": ""})
