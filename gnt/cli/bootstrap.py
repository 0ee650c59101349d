"""Running the program that works where no master daemon runs: `python -m gnt.bootstrap VERB`.

It reads one JSON object and writes JSON lines: `{"progress": text}`, `{"token": text}`, at last `{"result": …}` or
`{"error": {"code", "text", "hint"}}`. It loads what these commands never load.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from gnt.cli.call import Call
from gnt.cli.terminal import note
from gnt.model.errors import PREREQ_CODES, ConfigError, Failed, GntError, Refused


def _progress(text: str) -> None:
    note(f"* {text}")


class Bootstrap:
    """The program for one verb, started when this is entered: it loads while its request is put together.

    Left without a question, it is ended; it has done nothing.
    """

    def __init__(self, call: Call, verb: str) -> None:
        self._call = call
        self._verb = verb

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "gnt.bootstrap", self._verb]
        self._program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
        )
        self._asked = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._asked or (kind is not None and issubclass(kind, KeyboardInterrupt)):
            self._program.terminate()
        with self._program:
            pass  # its pipes are closed, and its end is waited for

    def ask(self, request: Mapping[str, Any], on_token: Callable[[str], None] | None = None) -> Any:
        """Have the verb carried out and give its result. Raises the error that it ends with."""
        self._asked = True
        return _talk(self._call, self._program, request, on_token)


def run_bootstrap(
    call: Call, verb: str, request: Mapping[str, Any], on_token: Callable[[str], None] | None = None
) -> Any:
    """Run a verb and give its result. Raises the error that it ends with."""
    with Bootstrap(call, verb) as program:
        return program.ask(request, on_token)


def _talk(
    call: Call, program: subprocess.Popen[str], request: Mapping[str, Any], on_token: Callable[[str], None] | None
) -> Any:
    assert program.stdin is not None  # noqa: S101  (a pipe was asked for)
    assert program.stdout is not None  # noqa: S101
    try:
        json.dump(request, program.stdin)
        program.stdin.close()
    except BrokenPipeError:
        pass  # it ended before it read everything; its answer says why
    for message in _messages(program.stdout):
        if "result" in message:
            return message["result"]
        if isinstance(message.get("error"), dict):
            raise _error(message["error"])
        if "token" in message and on_token is not None:
            on_token(str(message["token"]))
        elif "progress" in message and not call.json:
            _progress(str(message["progress"]))
    raise Failed(f"the program gnt.bootstrap ended without an answer (exit status {program.wait()})")


def _messages(lines: Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            message = {"progress": line.rstrip()}
        if isinstance(message, dict):
            yield message


def _error(found: Mapping[str, Any]) -> GntError:
    code, text, hint = (str(found.get(key) or "") for key in ("code", "text", "hint"))
    if code in PREREQ_CODES:
        return Refused(code, text, hint=hint)
    if code == "configuration":
        return ConfigError(text, hint=hint)
    return GntError(code or "failed", text or "it failed without a reason", hint=hint)
