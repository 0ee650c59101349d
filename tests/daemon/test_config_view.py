"""`config.data` and its digest: an edit is noticed, a crash is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gnt.daemon.config_view import digest_lines, refuse_edited, write_config_data
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a node's tree."""
    made = Layout(tmp_path)
    made.data.mkdir(parents=True)
    return made


def test_sha256sum_can_check_it(layout: Layout) -> None:
    """The form of the file is that of the usual tool; both are the owner's alone."""
    write_config_data(layout, "{}")
    command = ["sha256sum", "-c", layout.config_digest.name]
    done = subprocess.run(command, cwd=layout.data, capture_output=True, check=False)
    assert done.returncode == 0
    assert {path.stat().st_mode & 0o777 for path in (layout.config_data, layout.config_digest)} == {0o600}


def test_crashes_between_the_two_files_are_no_edit(layout: Layout) -> None:
    """However many of them follow each other."""
    write_config_data(layout, "first")
    for text in (b"second", b"third", b"fourth"):
        layout.config_digest.write_text(digest_lines(layout, text))
        refuse_edited(layout)
    write_config_data(layout, "fifth")
    refuse_edited(layout)


def test_a_file_of_an_older_release_is_no_edit(layout: Layout) -> None:
    """It has no digest; it gets one when it is written next, and a crash then is no edit either."""
    layout.config_data.write_text("old")
    refuse_edited(layout)
    layout.config_digest.write_text(digest_lines(layout, b"new"))
    refuse_edited(layout)


def test_what_somebody_wrote_meanwhile_does_not_become_right(layout: Layout) -> None:
    """Also not by the next write, should that be cut off."""
    write_config_data(layout, "first")
    layout.config_data.write_text("edited")
    layout.config_digest.write_text(digest_lines(layout, b"second"))
    with pytest.raises(ConfigError, match="was edited"):
        refuse_edited(layout)
