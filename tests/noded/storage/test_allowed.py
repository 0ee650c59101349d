"""Where file disks may live."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.noded.storage.allowed import AllowedDirectories, forbidden_directories


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a node with nothing configured."""
    found = Layout(tmp_path)
    found.data.mkdir(parents=True)
    found.etc.mkdir(parents=True)
    return found


def refusal(allowed: AllowedDirectories, path: Path | str) -> str:
    """Give the text with which a path is refused."""
    with pytest.raises(NodeFailure) as caught:
        allowed.find(str(path))
    assert caught.value.code == "not_allowed"
    return caught.value.text


def test_without_a_list_the_clusters_directory_counts(layout: Layout, tmp_path: Path) -> None:
    """The older rule: strictly below file_storage_dir, each template its own."""
    layout.ssconf("file_storage_dir").write_text(f"{tmp_path}/own\n")
    assert AllowedDirectories(layout, "file").find(f"{tmp_path}/own/a/b") == (tmp_path / "own", ("a", "b"))
    assert "not acceptable" in refusal(AllowedDirectories(layout, "sharedfile"), tmp_path / "own/a")
    assert "not acceptable" in refusal(AllowedDirectories(layout, "file"), tmp_path / "own")


def test_before_there_is_a_cluster_the_built_in_directory_counts(layout: Layout) -> None:
    """Nothing configured at all: the default."""
    base = layout.default_shared_file_storage()
    assert AllowedDirectories(layout, "sharedfile").find(f"{base}/x") == (base, ("x",))


def test_a_list_alone_decides(layout: Layout, tmp_path: Path) -> None:
    """Comments and empty lines aside; the cluster's directory counts no longer."""
    layout.ssconf("file_storage_dir").write_text(f"{tmp_path}/own\n")
    layout.file_storage_paths.write_text(f"# allowed\n\n  {tmp_path}/listed  \n")
    allowed = AllowedDirectories(layout, "file")
    assert allowed.find(f"{tmp_path}/listed/x") == (tmp_path / "listed", ("x",))
    assert "not acceptable" in refusal(allowed, tmp_path / "own/x")


@pytest.mark.parametrize("text", ["", "# nothing\n", "/etc\n", "relative\n", "/srv/../etc\n"])
def test_a_list_that_allows_nothing(layout: Layout, tmp_path: Path, text: str) -> None:
    """An empty list, or one with forbidden or useless lines only, allows no path."""
    layout.file_storage_paths.write_text(text)
    assert refusal(AllowedDirectories(layout, "file"), tmp_path / "x/y") == (
        f"No paths are valid or path file '{layout.file_storage_paths}' was not accessible."
    )


@pytest.mark.parametrize("path", ["/etc/x", "/usr/local/sbin/x", "/lib64/x", "/proc/x", "/boot", "//etc/x"])
def test_forbidden_places(layout: Layout, path: str) -> None:
    """System directories are refused, even where the list has the root."""
    layout.file_storage_paths.write_text("/\n")
    assert "uses a forbidden prefix" in refusal(AllowedDirectories(layout, "file"), path)


def test_a_moved_root_has_forbidden_places_of_its_own(layout: Layout, tmp_path: Path) -> None:
    """What is forbidden below / is forbidden below the moved root too."""
    layout.file_storage_paths.write_text(f"{tmp_path}\n")
    assert "uses a forbidden prefix" in refusal(AllowedDirectories(layout, "file"), tmp_path / "etc/x")


def test_a_trial_cluster_may_live_in_somebodys_home() -> None:
    """A moved root below /home lifts that one prohibition, and no other."""
    places = forbidden_directories(Path("/home/me/try/node1"))
    assert Path("/home") not in places
    assert Path("/etc") in places
    assert Path("/home/me/try/node1/etc") in places


def test_a_listed_link_to_a_forbidden_place(layout: Layout, tmp_path: Path) -> None:
    """The list may name a symbolic link, but not one to a forbidden directory."""
    (tmp_path / "link").symlink_to("/etc")
    layout.file_storage_paths.write_text(f"{tmp_path}/link\n")
    assert "uses a forbidden prefix" in refusal(AllowedDirectories(layout, "file"), tmp_path / "link/x")


def test_checking_a_directory(layout: Layout, tmp_path: Path) -> None:
    """It must be listed (itself is enough), exist, be a directory, and not lead elsewhere."""
    layout.file_storage_paths.write_text(f"{tmp_path}/listed\n")
    allowed = AllowedDirectories(layout, "file")
    (tmp_path / "listed").mkdir()
    (tmp_path / "other").mkdir()
    allowed.check(f"{tmp_path}/listed")
    (tmp_path / "listed/plain").write_text("")
    (tmp_path / "listed/link").symlink_to(tmp_path / "other")
    for name, text in {
        "listed/missing": "does not exist",
        "listed/plain": "is not a directory",
        "listed/link": "not acceptable",
        "other": "not acceptable",
    }.items():
        with pytest.raises(NodeFailure, match=text):
            allowed.check(f"{tmp_path}/{name}")


def test_lines_of_the_list_that_cannot_be_used_are_named(layout: Layout) -> None:
    """The administrator is told."""
    layout.file_storage_paths.write_text("/etc/x\n/srv/fine\nrelative\n")
    assert AllowedDirectories(layout, "file").listed_but_forbidden() == ["/etc/x", "relative"]
