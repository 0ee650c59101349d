"""The commands as processes: what they load, pipes, signals, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnt.cli.main import MODULES
from tests.cli.fake_master import FakeMaster, Job

SOURCE = Path(__file__).parent.parent.parent
LAUNCH = "import sys; from gnt.cli.main import main; sys.exit(main(sys.argv[1], sys.argv[2:]))"


def environment(root: Path, **more: str) -> dict[str, str]:
    """Give the environment of a command on the fake node."""
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return {**base, "GNT_ROOTDIR": str(root), "GNT_HOSTNAME": "node1", **more}


def run(root: Path, *words: str, code: str = LAUNCH, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


@pytest.mark.parametrize("program", sorted(MODULES))
def test_no_command_loads_twisted(root: Path, master: FakeMaster, program: str) -> None:
    """Neither the definitions nor asking the master load it, nor the room of the daemons."""
    code = (
        "import sys; from gnt.cli.main import main; main(sys.argv[1], ['--help']);"
        "main('gnt-instance', ['list']); main('gnt-debug', ['delay', '1']); main('gnt-cluster', ['verify', '--help']);"
        "bad = [m for m in sys.modules if m.split('.')[0] in {'twisted', 'zope', 'OpenSSL', 'klein', 'cryptography'}"
        " or m.startswith(('gnt.daemon', 'gnt.store', 'gnt.masterd'))]; sys.exit(','.join(bad) or 0)"
    )
    done = run(root, program, code=code)
    assert done.returncode == 0, done.stderr


def test_a_list_loads_little(root: Path, master: FakeMaster) -> None:
    """Only who submits a job pays for loading the opcodes; a list answers before a person notices."""
    code = (
        "import sys; from gnt.cli.main import main; status = main('gnt-instance', ['list']);"
        "bad = [m for m in sys.modules if m.startswith('gnt.opcodes.') or m in {'argparse', 'subprocess'}];"
        "sys.exit(','.join(bad) or status)"
    )
    done = run(root, code=code)
    assert done.returncode == 0, done.stderr


def test_the_launchers(root: Path) -> None:
    """Each program in bin/ begins here."""
    for program in MODULES:
        done = subprocess.run(
            [sys.executable, str(SOURCE / "bin" / program), "--version"],
            env=environment(root),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.startswith(f"{program} (ganeti v")


def test_a_pipe_that_closes_is_no_error(root: Path, master: FakeMaster) -> None:
    """`gnt-job list | head -1` prints a line and nothing else."""
    master.rows["job"] = [{"id": n, "status": "success", "summary": ["X" * 200]} for n in range(1, 3000)]
    command = [sys.executable, "-c", LAUNCH, "gnt-job", "list", "--no-headers"]
    with subprocess.Popen(
        command, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("   1 success")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_a_full_disk_is_said(root: Path, master: FakeMaster) -> None:
    """Output that cannot be written is one line and status 1."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, "gnt-job", "list"],
            env=environment(root),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "Failure: No space left on device\n")


def test_an_interrupt_leaves_the_job(root: Path, master: FakeMaster) -> None:
    """Ctrl-C ends the waiting; what becomes of the job is said."""
    waiting = threading.Event()

    def wait(*_: Any) -> Any:
        waiting.set()
        time.sleep(0.2)
        return "nochange"

    master.answers["WaitForJobChange"] = wait
    command = [sys.executable, "-c", LAUNCH, "gnt-debug", "delay", "9"]
    with subprocess.Popen(command, env=environment(root), stderr=subprocess.PIPE, text=True) as process:
        assert waiting.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Job 11 goes on. Watch it: gnt-job watch 11; give it up: gnt-job cancel 11\n" in said
    assert "Traceback" not in said


def on_terminal(root: Path, words: list[str], answer: Callable[[str], str | None], **more: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; `answer` gives what is typed for what has been shown so far."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(  # noqa: S606
            sys.executable,
            [sys.executable, "-c", LAUNCH, *words],
            environment(root, **{"TERM": "xterm", **more}),
        )
    shown = ""
    try:
        while True:
            with contextlib.suppress(UnicodeDecodeError):
                data = os.read(terminal, 4096)
                if not data:
                    break
                shown += data.decode()
            typed = answer(shown)
            if typed is not None:
                os.write(terminal, typed.encode())
    except OSError:  # the other side has closed
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def answers(*pairs: tuple[str, str]) -> Callable[[str], str | None]:
    """Type each answer once the text before it has been shown."""
    left = list(pairs)

    def answer(shown: str) -> str | None:
        if left and shown.count(left[0][0]) >= 1 and shown.endswith(left[0][0]):
            return left.pop(0)[1]
        return None

    return answer


WEB = {"name": "web1", "status": "running"}


def test_questions_are_asked_on_the_terminal(root: Path, master: FakeMaster) -> None:
    """`?` explains the choices; anything else asks again; only y does it."""
    master.rows["instance"] = [WEB]
    prompt = "y/[n]/?: "
    status, shown = on_terminal(
        root,
        ["gnt-instance", "remove", "web1"],
        answers((prompt, "?\n"), (prompt, "what\n"), (prompt, "y\n")),
    )
    assert status == 0
    assert " y - do it\r\n n - do not do it\r\n" in shown
    assert shown.count(prompt) == 3
    assert master.opcode()["OP_ID"] == "OP_INSTANCE_REMOVE"


def test_no_is_the_usual_answer(root: Path, master: FakeMaster) -> None:
    """An empty line does nothing."""
    master.rows["instance"] = [WEB]
    status, shown = on_terminal(root, ["gnt-instance", "remove", "web1"], answers(("y/[n]/?: ", "\n")))
    assert status == 1
    assert "not confirmed" in shown
    assert not master.opcodes()


def test_long_lists_are_shown_on_demand(root: Path, master: FakeMaster) -> None:
    """More than twenty objects are counted; v shows them and asks again."""
    master.rows["instance"] = [{**WEB, "name": f"web{n}"} for n in range(1, 22)]
    status, shown = on_terminal(
        root, ["gnt-instance", "shutdown", "--all"], answers(("y/v/[n]/?: ", "v\n"), ("y/[n]/?: ", "y\n"))
    )
    assert status == 0
    before, _, after = shown.partition("y/v/[n]/?: ")
    assert "21 instances" in before
    assert "web21" not in before
    assert "Affected instances:\r\n  web1\r\n" in after
    assert len(master.opcodes()) == 21


def test_statuses_have_colours_on_a_terminal(root: Path, master: FakeMaster) -> None:
    """Not when NO_COLOR is set; the columns stay aligned."""
    master.rows["job"] = [{"id": 1, "status": "error", "summary": ["X"]}, {"id": 2, "status": "success", "summary": []}]
    _, shown = on_terminal(root, ["gnt-job", "list"], lambda _: None)
    assert "\x1b[31merror\x1b[0m   X" in shown
    assert "\x1b[32msuccess\x1b[0m -" in shown
    _, plain = on_terminal(root, ["gnt-job", "list"], lambda _: None, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", shown) == plain


def test_progress_is_a_line_that_goes_away(root: Path, master: FakeMaster) -> None:
    """On a terminal the status of the job is shown, and taken away before each message and in the end."""
    master.plans = [Job(log=("half way",))]
    _, shown = on_terminal(root, ["gnt-debug", "delay", "1"], lambda _: None)
    assert "job 11: queued  0 s" in shown
    assert "\r\x1b[KTue Nov 14 22:13:21 2023 half way\r\n" in shown
    assert shown.endswith("\r\x1b[K")


def test_the_console_takes_over(root: Path, master: FakeMaster) -> None:
    """The command replaces this program: its exit status is what a shell sees. One that is not there is said."""
    console = {"kind": "ssh", "instance": "web1", "host": "node1", "user": "root"}
    master.plans = [
        Job({**console, "command": ["sh", "-c", "echo hello; exit 7"]}),
        Job({**console, "command": ["/nowhere/virsh"]}),
    ]
    done = run(root, "gnt-instance", "console", "web1")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    done = run(root, "gnt-instance", "console", "web1")
    assert done.returncode == 1
    assert done.stderr.startswith("Failure: cannot run /nowhere/virsh: No such file or directory")


def test_results_can_be_piped_to_programs(root: Path, master: FakeMaster) -> None:
    """With --json standard output holds JSON only."""
    master.plans = [Job({"a": "ü"}, log=("msg",))]
    done = run(root, "gnt-debug", "delay", "--json", "--print-jobid", "1")
    assert json.loads(done.stdout) == {"job": 11, "status": "success", "result": {"a": "ü"}}
    assert "msg" in done.stderr


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_are_no_failure(root: Path, master: FakeMaster, closed: tuple[int, ...]) -> None:
    """What `>&-` in a line of cron closed is nowhere: the command does what it was asked, and its status says so."""
    done = run(root, "gnt-debug", "delay", "1", preexec_fn=lambda: [os.close(number) for number in closed])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [("--os-parameters-secret", "pw=hush,token=hush"), ("--os-parameters-private=pw=hush",)],
    ids=["two", "one"],
)
def test_the_list_of_processes_shows_no_secret(root: Path, master: FakeMaster, words: tuple[str, ...]) -> None:
    """While the command waits for its job, as long as that takes; the other arguments stay."""
    shown: list[bytes] = []

    def look(*_: Any) -> Any:
        shown.append(Path(f"/proc/{started.pid}/cmdline").read_bytes())
        return [["success"], []]

    master.answers["WaitForJobChange"] = look
    add = ["gnt-instance", "add", "-t", "diskless", "--no-install", "-o", "noop", "-n", "node1", *words, "web1"]
    with subprocess.Popen([sys.executable, "-c", LAUNCH, *add], env=environment(root)) as started:
        assert started.wait(60) == 0
    assert b"hush" not in shown[0]
    assert shown[0].endswith(b"\0web1\0")
    (op,) = master.opcodes()
    assert "hush" in str(op)
