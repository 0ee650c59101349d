"""Runs commands in a node for the tests: requests come in over a serial line and go side by side.

Started by `init.sh` with nothing but the standard library. A line is a JSON object: `{id, argv, env, stdin, cwd}`; the
answer `{id, status, stdout, stderr}` when the program has ended. Text goes as base64, so that a line stays a line.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import tty
from typing import Any, BinaryIO


def main(path: str) -> None:
    """Serve until the line is closed."""
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    writing = threading.Lock()

    def answer(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with writing:
            while data:
                data = data[os.write(line, data) :]

    answer({"id": 0, "status": 0, "stdout": "", "stderr": ""})
    reading: BinaryIO
    with os.fdopen(line, "rb", buffering=0, closefd=False) as reading:
        for request in _lines(reading):
            threading.Thread(target=_serve, args=(json.loads(request), answer), daemon=True).start()


def _lines(reading: BinaryIO) -> Any:
    """Give line by line what comes in, without waiting for more than a line."""
    kept = b""
    while piece := reading.read(65536):
        *lines, kept = (kept + piece).split(b"\n")
        yield from lines


def _serve(request: dict[str, Any], answer: Any) -> None:
    try:
        done = subprocess.run(
            request["argv"],
            env={**os.environ, **request.get("env", {})},
            input=base64.b64decode(request.get("stdin", "")),
            capture_output=True,
            check=False,
            cwd="/",
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    except OSError as error:
        status, out, err = 127, b"", str(error).encode()
    answer(
        {
            "id": request["id"],
            "status": status,
            "stdout": base64.b64encode(out).decode(),
            "stderr": base64.b64encode(err).decode(),
        }
    )


if __name__ == "__main__":
    main(sys.argv[1])
