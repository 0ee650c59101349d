"""A LUXI server on a UNIX socket in a thread, whose answers a test decides: the commands' world without a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnt.model.errors import GntError, Refused
from gnt.wire.luxi import encode_failure, encode_response, unknown_method
from gnt.wire.luxi_frames import FrameSplitter

FIELDS = json.loads((Path(__file__).parent.parent / "data/query-fields.json").read_text(encoding="utf-8"))

Handler = Callable[..., Any]


def definition(what: str, field: str) -> dict[str, str]:
    """Give the definition of a field as the real master has it."""
    known = FIELDS[what]["fields"].get(field)
    if known is None:
        return {"name": field, "title": field, "kind": "unknown", "doc": f"Unknown field '{field}'"}
    return {"name": field, "title": known["title"], "kind": known["kind"], "doc": known["doc"]}


class Job:
    """What becomes of the next job that is submitted."""

    def __init__(
        self,
        *results: Any,
        status: str = "success",
        log: tuple[str, ...] = (),
        opstatus: list[str] | None = None,
        before: tuple[str, ...] = ("queued",),
    ) -> None:
        self.results = list(results) or [None]
        self.status = status
        self.opstatus = opstatus or [status] * len(self.results)
        self.log = [[number, [1_700_000_000 + number, 0], "message", text] for number, text in enumerate(log, 1)]
        self.before = list(before)


class FakeMaster:
    """Answers LUXI requests from what the test has put into it, and remembers them."""

    def __init__(self, path: Path) -> None:
        self.requests: list[tuple[str, list[Any]]] = []
        self.jobs: dict[int, Job] = {}
        self.plans: list[Job | str] = []
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.cluster: dict[str, Any] = {}
        self.unsafe: list[dict[str, Any]] = []
        self.next_job = 11
        self.answers: dict[str, Handler | GntError] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(5)
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    # What tests ask

    def called(self, method: str) -> list[list[Any]]:
        """Give the arguments of each call of a method."""
        return [args for name, args in self.requests if name == method]

    def opcodes(self) -> list[dict[str, Any]]:
        """Give every opcode that was submitted."""
        single = [op for args in self.called("SubmitJob") for op in args[0]]
        return single + [op for args in self.called("SubmitManyJobs") for job in args[0] for op in job]

    def opcode(self) -> dict[str, Any]:
        """Give the only opcode that was submitted."""
        (found,) = self.opcodes()
        return found

    def stop(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # What commands get

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        splitter = FrameSplitter()
        # A client that was interrupted does not wait for its answer.
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                for frame in splitter.feed(data):
                    request = json.loads(frame)
                    connection.sendall(self._answer(request["method"], request["args"]))

    def _answer(self, method: str, args: list[Any]) -> bytes:
        self.requests.append((method, args))
        try:
            given = self.answers.get(method)
            if isinstance(given, GntError):
                raise given
            handler = given or getattr(self, f"do_{method}", None)
            if handler is None:
                return encode_failure(unknown_method(method))
            return encode_response(handler(*args))
        except GntError as problem:
            return encode_failure(problem)

    def _new_job(self) -> int | str:
        plan = self.plans.pop(0) if self.plans else Job()
        if isinstance(plan, str):
            return plan
        number, self.next_job = self.next_job, self.next_job + 1
        self.jobs[number] = plan
        return number

    def do_SubmitJob(self, ops: list[Any]) -> int:
        """Take a job."""
        number = self._new_job()
        if isinstance(number, str):
            raise GntError("job_queue_error", number)
        return number

    def do_SubmitManyJobs(self, jobs: list[Any]) -> list[Any]:
        """Take jobs; a plan that is a text refuses one."""
        numbers = [self._new_job() for _ in jobs]
        return [[isinstance(number, int), number] for number in numbers]

    def do_WaitForJobChange(self, number: int, fields: list[str], previous: Any, serial: Any, wait: float) -> Any:
        """Go through the job's earlier statuses, then give its log and its end."""
        if number not in self.jobs:
            return None
        job = self.jobs[number]
        if job.before and previous != [job.before[-1]]:
            index = job.before.index(previous[0]) + 1 if previous and previous[0] in job.before else 0
            return [[job.before[index]], []]
        fresh = [entry for entry in job.log if entry[0] > (serial or 0)]
        return [[job.status], fresh]

    def do_QueryJobs(self, numbers: list[int] | None, fields: list[str]) -> list[Any]:
        """Give the ends of jobs, or rows of a test."""
        rows: list[Any] = []
        known = {row["id"]: row for row in self.rows.get("job", [])}
        for number in numbers or []:
            if number in self.jobs:
                job = self.jobs[number]
                values = {"id": number, "status": job.status, "opstatus": job.opstatus, "opresult": job.results}
                rows.append([values.get(field) for field in fields])
            elif number in known:
                rows.append([known[number].get(field) for field in fields])
            else:
                rows.append([number if field == "id" else None for field in fields])
        return rows

    def do_Query(self, what: str, fields: list[str], query_filter: Any) -> dict[str, Any]:
        """Give rows; a name filter picks rows and refuses names that are not there."""
        rows = self.rows.get(what, [])
        key = "id" if what == "job" else "name"
        names = _names(query_filter, key)
        if names is not None:
            missing = [name for name in names if name not in [row[key] for row in rows]]
            if missing:
                raise Refused("unknown_entity", f"there is no {what} {missing[0]}", hint="known: all others")
            rows = [row for row in rows if row[key] in names]
        definitions = [definition(what, field) for field in fields]
        data = [
            [[1, None] if field["kind"] == "unknown" else _cell(row, field["name"]) for field in definitions]
            for row in rows
        ]
        return {"fields": definitions, "data": data}

    def do_QueryFields(self, what: str, fields: list[str] | None) -> dict[str, Any]:
        """Describe fields."""
        return {"fields": [definition(what, field) for field in fields or sorted(FIELDS[what]["fields"])]}

    def do_QueryClusterInfo(self) -> dict[str, Any]:
        """Describe the cluster."""
        return self.cluster

    def do_UnsafeChanges(self) -> list[dict[str, Any]]:
        """Give what was done without a majority."""
        return self.unsafe

    def do_CancelJob(self, number: int, kill: bool = False) -> list[Any]:
        """Cancel jobs with odd numbers."""
        return (
            [True, f"Job {number} canceled"]
            if number % 2
            else [False, f"Job {number} is no longer waiting in the queue"]
        )


def _names(query_filter: Any, key: str) -> list[Any] | None:
    """Give the names of a simple name filter."""
    if not query_filter or query_filter[0] != "|":
        return None
    leaves = query_filter[1:]
    return [leaf[2] for leaf in leaves] if all(leaf[:2] == ["=", key] for leaf in leaves) else None


def _cell(row: dict[str, Any], field: str) -> list[Any]:
    """Give a cell; `...` stands for no data, a tuple is a cell as it is."""
    value = row.get(field, (3, None))
    return list(value) if isinstance(value, tuple) else [0, value]


def directories(root: Path, *, master: str = "node1") -> None:
    """Make the directories and ssconf values of a node."""
    for name in ("var/run/ganeti/socket", "var/lib/ganeti", "var/log/ganeti"):
        os.makedirs(root / name, exist_ok=True)  # noqa: PTH103
    (root / "var/lib/ganeti/ssconf_master_node").write_text(f"{master}\n", encoding="utf-8")
