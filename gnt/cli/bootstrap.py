"""Running the program that works where no master daemon runs: `python -m gnt.bootstrap VERB`.

It reads one JSON object and writes JSON lines: `{"progress": text}`, `{"token": text}`, at last `{"result": …}` or
`{"error": {"code", "text", "hint"}}`. It loads what these commands never load.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gnt.cli.call import Call
from gnt.cli.terminal import note
from gnt.model.errors import PREREQ_CODES, ConfigError, Failed, GntError, Refused


def _progress(text: str) -> None:
    note(f"* {text}")


def run_bootstrap(
    call: Call, verb: str, request: Mapping[str, Any], on_token: Callable[[str], None] | None = None
) -> Any:
    """Run a verb and give its result. Raises the error that it ends with."""
    command = [sys.executable, "-m", "gnt.bootstrap", verb]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    ) as program:
        try:
            return _talk(call, program, request, on_token)
        except KeyboardInterrupt:
            program.terminate()
            program.wait()
            raise


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
