"""Log lines, log files."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from twisted.logger import Logger, LogLevel
from twisted.logger import LogPublisher as Publisher
from twisted.python.failure import Failure

from gnt.daemon import log
from gnt.model.errors import Refused

KEY = "-----BEGIN EC PRIVATE KEY-----\nAAAA\nBBBB\n-----END EC PRIVATE KEY-----"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: gnt-test pid=\d+ [A-Z]+ .*")


def logger(sink: object) -> Logger:
    """Give a logger that writes to one sink."""
    publisher = Publisher(sink)  # type: ignore[arg-type]
    return Logger(namespace="room.module", observer=publisher)


def lines(write: object) -> list[str]:
    """Give what a stream sink made of what `write` logged."""
    stream = io.StringIO()
    write(logger(log.ToStream(stream, "gnt-test")))  # type: ignore[operator]
    return stream.getvalue().splitlines()


def test_line_form() -> None:
    """Date with milliseconds, program, process, level, message."""
    (line,) = lines(lambda logger: logger.warn("node {name} is away", name="node2"))
    assert LINE.fullmatch(line)
    assert line.endswith(f"pid={os.getpid()} WARNING node node2 is away")


def test_traceback_keeps_the_form() -> None:
    """Every line of it has date and program, so that a log can be filtered by line."""

    def fail(logger: Logger) -> None:
        try:
            int("no number")
        except ValueError:
            logger.failure("it failed", failure=Failure())

    found = lines(fail)
    assert len(found) > 2
    assert all(LINE.fullmatch(line) for line in found)


@pytest.mark.parametrize("text", [KEY, KEY.replace("EC ", ""), "before " + KEY + " after", KEY[:60]])
def test_keys_never_reach_a_log(text: str) -> None:
    """Whole, among other text, or cut off."""
    found = "\n".join(lines(lambda logger: logger.info("{text}", text=text)))
    assert "AAAA" not in found
    assert "<private key>" in found


def test_message_cannot_forge_a_line() -> None:
    """Control characters are shown as question marks; a line break begins a line of the same form."""
    found = lines(lambda logger: logger.info("{text}", text="a\x1b[31m\rb\nfake 2026"))
    assert all(LINE.fullmatch(line) for line in found)
    assert "\x1b" not in "".join(found)


def test_file_is_not_for_everybody_and_is_appended_to(tmp_path: Path) -> None:
    """A restart adds to what is there."""
    path = tmp_path / "node-daemon.log"
    for text in ("one", "two"):
        logger(log.LogFile(path, "gnt-test")).info(text)
    assert [line.rsplit(" ", 1)[1] for line in path.read_text().splitlines()] == ["one", "two"]
    assert path.stat().st_mode & 0o007 == 0


def test_rotation(tmp_path: Path) -> None:
    """After SIGHUP lines go into a new file of the old name."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        path = tmp_path / "node-daemon.log"
        mine = logger(log.observer(path, "gnt-test"))
        mine.info("one")
        path.rename(tmp_path / "old")
        os.kill(os.getpid(), signal.SIGHUP)
        mine.info("two")
        assert path.read_text().endswith("two\n")
        assert (tmp_path / "old").read_text().endswith("one\n")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_rotation_in_the_middle_of_lines(tmp_path: Path) -> None:
    """No line is lost, cut or mixed with another while threads write and the file is moved away again and again."""
    path = tmp_path / "node-daemon.log"
    sink = log.LogFile(path, "gnt-test")

    def write(name: str) -> None:
        for number in range(200):
            logger(sink).info("{name} {number} {padding}", name=name, number=number, padding="x" * 3000)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    moved = 0
    while any(writer.is_alive() for writer in writers):
        path.rename(tmp_path / f"old{moved}")
        sink.reopen()
        moved += 1
    found = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    wanted = {f"{name} {number}" for name in ("one", "two", "three") for number in range(200)}
    assert moved
    assert all(line.endswith("x" * 3000) for line in found)
    assert sorted(" ".join(line.split()[-3:-1]) for line in found) == sorted(wanted)


def test_a_text_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    """A file name may hold any bytes; what cannot be encoded is shown."""
    path = tmp_path / "node-daemon.log"
    logger(log.LogFile(path, "gnt-test")).info("{name}", name="caf\udce9")
    assert path.read_text().endswith("caf\\udce9\n")


def test_debug_lines_only_when_asked_for(tmp_path: Path) -> None:
    """With the module that wrote them."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        for debug in (False, True):
            path = tmp_path / f"log-{debug}"
            logger(log.observer(path, "gnt-test", debug=debug)).emit(LogLevel.debug, "detail")
            text = path.read_text()
            assert ("detail" in text, "room.module" in text) == (debug, debug)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_full_disk_stops_nothing() -> None:
    """Lines are lost, the daemon is not."""
    full = log.LogFile(Path("/dev/full"), "gnt-test")
    logger(full).info("one")
    logger(full).info("two")


def test_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before the daemon detaches."""
    with pytest.raises(Refused, match=r"missing/node-daemon\.log"):
        log.LogFile(tmp_path / "missing/node-daemon.log", "gnt-test")
