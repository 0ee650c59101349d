"""LUXI, the client: a socket that blocks (`spec/luxi.md`). What a list needs loads next to nothing, for speed."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias, TypeVar

from gnt.model.errors import WRONG_INPUT, GntError, JobLost, Refused
from gnt.model.layout import SOCKET_PATH_LIMIT
from gnt.wire.errors import from_luxi
from gnt.wire.luxi_frames import (
    CONNECT_TIMEOUT,
    END,
    LONGEST_WAIT,
    MAX_REQUEST,
    NO_CHANGE,
    OWN_CLIENT,
    TIMEOUT,
    FrameSplitter,
    parse_job_id,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from gnt.opcodes.base import Opcode
    from gnt.wire.plan_answer import OpcodePlan

    Asked: TypeAlias = Opcode | dict[str, Any]
    """An opcode, or the JSON object of one, which nobody has checked yet."""

T = TypeVar("T")


class FieldDefinition(NamedTuple):
    """What a field of a query is. `kind` says how it is shown, such as `text` or `unit` (MiB)."""

    name: str
    title: str
    kind: str
    doc: str = ""


class QueryAnswer(NamedTuple):
    """Definitions of the fields, and rows of cells `[status, value]`; the value is null unless the status is 0."""

    fields: list[FieldDefinition]
    data: list[list[list[Any]]]


class JobChange(NamedTuple):
    """What is new about a job: the values of the fields asked for, and log entries `[serial, time, type, payload]`."""

    info: list[Any]
    entries: list[Any]


READING: Final = (
    *("Query", "Wait", "Plan", "Explain", "Hindrance", "History", "ObjectAt", "ConfigDiff"),
    *("UnsafeChanges", "ApiTokens", "CheckApiToken", "Abilities", "IfChanged"),
)
"""How the names of methods begin that change nothing."""
# What shows whether a change was made whose answer did not come, by how the name of its method begins.
_WHETHER: Final = {
    "Submit": "gnt-job list shows whether it arrived",
    "CancelJob": "gnt-job info shows whether it was",
    "ArchiveJob": "gnt-job list --archived shows whether it was",
    "AutoArchive": "gnt-job list --archived shows whether it was",
    "ChangeJobPriority": "gnt-job info shows whether it was",
    "ReplaceFilter": "gnt-filter list shows whether it was",
    "DeleteFilter": "gnt-filter list shows whether it was",
    "SetDrainFlag": "gnt-cluster queue info shows whether it was",
    "SetWatcherPause": "gnt-cluster watcher info shows whether it was",
}


class LuxiClient:
    """A connection to the master daemon, for programs that may block. Made at the first call.

    Times are seconds; `timeout` bounds each silence. Every method raises the error that the master answered, or
    `GntError`: `no_master`, `permission`, `timeout`, `connection_lost` (what was asked may have been done) and
    `luxi_error` (the answer cannot be understood).
    """

    def __init__(
        self,
        path: Path | str,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        timeout: float = TIMEOUT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._pause = pause
        self._socket: socket.socket | None = None
        self._splitter = FrameSplitter()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect unless this is done already; raises `GntError` (`no_master`, `permission`, `timeout`)."""
        if self._socket is not None:
            return
        if len(os.fsencode(self._path)) > SOCKET_PATH_LIMIT:
            raise GntError(
                "no_master",
                f"the path of the LUXI socket is longer than {SOCKET_PATH_LIMIT} bytes: {self._path}",
                hint="move the root directory (GNT_ROOTDIR) to a shorter path",
            )
        self._splitter = FrameSplitter()
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        """Give a connected socket; a full backlog is waited for."""
        tries = max(1, round(self._connect_timeout / 0.1))
        for left in reversed(range(tries)):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._connect_timeout)
                connection.connect(os.fsencode(self._path))
            except OSError as problem:
                connection.close()
                if problem.errno != errno.EAGAIN or not left:
                    raise self._not_connected(problem) from None
                self._pause(0.1)
            else:
                return connection
        raise AssertionError  # the last try returns or raises

    def _not_connected(self, problem: OSError) -> GntError:
        """Say why there is no connection."""
        if problem.errno in {errno.ENOENT, errno.ECONNREFUSED}:
            return GntError(
                "no_master",
                f"no master daemon answers at {self._path}",
                hint="gnt-cluster getmaster names the master node; gnt-masterd must run there",
            )
        if problem.errno in {errno.EACCES, errno.EPERM}:
            return GntError("permission", f"not allowed to connect to {self._path}", hint="only root may")
        if problem.errno == errno.EAGAIN or isinstance(problem, TimeoutError):
            return GntError("timeout", f"the master daemon at {self._path} takes no connections at the moment")
        return GntError("no_master", f"cannot connect to {self._path}: {problem.strerror or problem}")

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method and give its result. `patience` are seconds that the answer may take beyond the timeout."""
        self.connect()
        connection = self._socket
        assert connection is not None  # noqa: S101  (connect made it)
        frame = encode_question(method, args)
        if len(frame) > MAX_REQUEST:
            raise Refused(WRONG_INPUT, f"{method} request has {len(frame)} bytes, allowed are {MAX_REQUEST}")
        try:
            connection.settimeout(self._timeout + patience)
            connection.sendall(frame)
            answer = self._receive(connection)
        except BaseException as problem:
            self.close()  # what comes later on this connection would be taken for another call's answer
            if isinstance(problem, OSError):
                raise self._broken(method, problem) from None
            raise
        return decode_answer(answer)

    def _receive(self, connection: socket.socket) -> bytes:
        """Read one message."""
        while True:
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "closed by the master daemon")
            frames = self._splitter.feed(data)
            if len(frames) > 1 or (frames and self._splitter.pending):
                raise GntError("luxi_error", "the master answered more than was asked")
            if frames:
                return frames[0]

    def _broken(self, method: str, problem: OSError) -> GntError:
        """Say what a connection that broke during a call means: what changes something may be done all the same."""
        timeout = isinstance(problem, TimeoutError)
        text = "the master daemon did not answer {} in time" if timeout else "the connection broke during {}: {}"
        error = GntError("timeout" if timeout else "connection_lost", text.format(method, problem.strerror))
        if not method.startswith(READING):
            error.in_doubt = True
            error.text += "; it may be done all the same"
            error.args = (error.text,)
            error.hint = next((hint for named, hint in _WHETHER.items() if method.startswith(named)), "")
        return error

    def _call(self, wanted: type[T], method: str, *args: Any, patience: float = 0.0) -> T:
        """Call a method and give its result as a type; raises `GntError` (`luxi_error`) if it is none of this type."""
        return _typed(method, self.call(method, *args, patience=patience), wanted)

    def submit_job(self, opcodes: Sequence[Asked], *, even_if_drained: bool = False) -> int:
        """Submit a job and give its number."""
        method = "SubmitJobToDrainedQueue" if even_if_drained else "SubmitJob"
        return parse_job_id(self.call(method, _encoded(opcodes)))

    def submit_many_jobs(self, jobs: Sequence[Sequence[Asked]]) -> list[tuple[bool, int | str]]:
        """Submit jobs; give for each `(True, number)` or `(False, why not)`."""
        encoded = [_encoded(job) for job in jobs]
        # The type that both forms fit in: numbers were strings once.
        answers = self._call(list[tuple[bool, int | str]], "SubmitManyJobs", encoded)
        return [(done, parse_job_id(what) if done else what) for done, what in answers]

    def plan_job(self, opcodes: Sequence[Asked]) -> list[OpcodePlan]:
        """Ask what a job of these opcodes would do; changes nothing."""
        from gnt.wire.plan_answer import OpcodePlan  # noqa: PLC0415  (only --plan pays for it)

        return self._call(list[OpcodePlan], "PlanJob", _encoded(opcodes))

    def explain_job(self, job: int) -> dict[str, Any] | None:
        """Ask what a job waits for: `gnt.masterd.luxi_methods`; None if it waits for nothing. Raises `JobLost`."""
        found = self.call("ExplainJob", job)
        return None if found is None else _typed("ExplainJob", found, dict[str, Any])

    def cancel_job(self, job: int, *, kill: bool = False) -> tuple[bool, str]:
        """Cancel a job; give whether this was possible, and a sentence. `kill` does it while the job runs."""
        return self._call(tuple[bool, str], "CancelJob", *([job, True] if kill else [job]))

    def archive_job(self, job: int) -> bool:
        """Archive a finished job; give whether it was one."""
        return self._call(bool, "ArchiveJob", job)

    def auto_archive_jobs(self, age: int, within: float) -> tuple[int, int]:
        """Archive jobs that ended `age` seconds ago, working `within` seconds; give how many were and remain."""
        return self._call(tuple[int, int], "AutoArchiveJobs", age, within, patience=within)

    def change_job_priority(self, job: int, priority: int) -> tuple[bool, str]:
        """Change the priority of a job's waiting opcodes; give whether any was changed, and a sentence."""
        return self._call(tuple[bool, str], "ChangeJobPriority", job, priority)

    def wait_for_job_change(
        self,
        job: int,
        fields: Sequence[str],
        previous: Sequence[Any] | None = None,
        serial: int | None = None,
        wait: float = 29.0,
    ) -> JobChange | None:
        """Wait until the fields differ from `previous` or there are log entries after `serial`.

        Gives None when nothing changed within `wait` seconds. Raises `JobLost` when there is no such job.
        """
        wait = min(wait, LONGEST_WAIT)
        answer = self.call("WaitForJobChange", job, list(fields), previous, serial, wait, patience=wait)
        if answer == NO_CHANGE:
            return None
        if answer is None:
            raise JobLost(f"there is no job {job}")
        # By hand, as with queries: who waits for a job that is a list has not loaded what checks types.
        if not isinstance(answer, list) or len(answer) != 2 or set(map(type, answer)) != {list}:
            raise _other_answer("WaitForJobChange", "there are no values and entries of a log")
        return JobChange(*answer)

    def set_drain_flag(self, *, drained: bool) -> None:
        """Let the queue take no new jobs, or take them again."""
        self.call("SetDrainFlag", drained)

    def set_watcher_pause(self, until: float | None) -> None:
        """Keep the watcher from acting until a time (seconds since the epoch), or let it act again."""
        self.call("SetWatcherPause", until)

    def replace_filter(
        self, uuid: str | None, priority: int, predicates: list[Any], action: Any, reason: Sequence[Any]
    ) -> str:
        """Set a rule about jobs (None: a new one) and give its UUID."""
        return self._call(str, "ReplaceFilter", uuid, priority, predicates, action, list(reason))

    def delete_filter(self, uuid: str) -> None:
        """Remove a rule about jobs."""
        self.call("DeleteFilter", uuid)

    def query(self, what: str, fields: Sequence[str], query_filter: list[Any] | None = None) -> QueryAnswer:
        """Ask for fields of the objects that pass the filter (None: all)."""
        return _query_answer(self.call("Query", what, list(fields), query_filter))

    def query_fields(self, what: str, fields: Sequence[str] | None = None) -> list[FieldDefinition]:
        """Ask for the definitions of fields; None for all that there are."""
        answer = self.call("QueryFields", what, None if fields is None else list(fields))
        return _definitions("QueryFields", answer)

    def query_jobs(self, jobs: Sequence[int] | None, fields: Sequence[str]) -> list[list[Any] | None]:
        """Ask for fields of jobs (None: all); a row may be None for a job that is not there."""
        rows: list[list[Any] | None] = self.call("QueryJobs", None if jobs is None else list(jobs), list(fields))
        if not isinstance(rows, list) or set(map(type, rows)) - {list, type(None)}:
            raise _other_answer("QueryJobs", "there are no rows")
        return rows

    def query_cluster_info(self) -> dict[str, Any]:
        """Ask for the description of the cluster."""
        return self._call(dict[str, Any], "QueryClusterInfo")

    def query_config_values(self, fields: Sequence[str]) -> list[Any]:
        """Ask for single values of the configuration, in the order of `fields`."""
        return self._call(list[Any], "QueryConfigValues", list(fields))

    def query_tags(self, kind: str, name: str = "") -> list[str]:
        """Ask for the tags of an object; the cluster has no name."""
        return self._call(list[str], "QueryTags", kind, name)


def _encoded(opcodes: Sequence[Asked]) -> list[Any]:
    """Give the JSON objects of opcodes. Only who has made some pays for loading all of them."""
    if all(isinstance(opcode, dict) for opcode in opcodes):
        return list(opcodes)
    from gnt.opcodes.registry import encode_opcode  # noqa: PLC0415

    return [opcode if isinstance(opcode, dict) else encode_opcode(opcode) for opcode in opcodes]


def _typed(method: str, value: Any, wanted: type[T]) -> T:
    """Give an answer as a type. Lists do without it: they do not pay for loading what checks types."""
    import msgspec  # noqa: PLC0415

    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as problem:
        raise GntError("luxi_error", f"the master answered {method} with something else: {problem}") from None


def encode_question(method: str, args: Sequence[Any]) -> bytes:
    """Encode a request with its end byte; JSON escapes 0x03 itself. Text that is no Unicode is made so."""
    question = {"method": method, "args": list(args), "client": OWN_CLIENT}
    text = json.dumps(question, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + END


def decode_answer(frame: bytes) -> Any:
    """Give the result of a response, or raise the error that it carries.

    Raises `GntError` (`luxi_error`) when it is no response.
    """
    try:
        response = json.loads(frame)
    except (ValueError, RecursionError) as problem:
        raise GntError("luxi_error", f"the master answered what is no LUXI response: {problem}") from None
    match response:
        case {"success": True, "result": result}:
            return result
        case {"success": False, "result": error}:
            raise from_luxi(error, response.get("detail"))
    raise GntError("luxi_error", "the master answered what is no LUXI response")


def _definitions(method: str, answer: Any) -> list[FieldDefinition]:
    """Read the definitions of fields. Raises `GntError` (`luxi_error`)."""
    try:
        found = [
            FieldDefinition(each["name"], each["title"], each["kind"], each.get("doc", "")) for each in answer["fields"]
        ]
    except (TypeError, KeyError, AttributeError):
        raise _other_answer(method, "there are no definitions of fields") from None
    if not all(isinstance(part, str) for definition in found for part in definition):
        raise _other_answer(method, "a definition of a field is no text")
    return found


def _query_answer(answer: Any) -> QueryAnswer:
    """Read the answer to a query. Raises `GntError` (`luxi_error`)."""
    fields = _definitions("Query", answer)
    rows = answer.get("data")
    # All rows at once: a list may have hundreds of thousands of cells, and looking at one after the other takes longer
    # than the whole command may.
    rectangular = isinstance(rows, list) and set(map(type, rows)) <= {list} and set(map(len, rows)) <= {len(fields)}
    if not rectangular or set(map(type, chain.from_iterable(rows))) - {list}:
        raise _other_answer("Query", "there are no rows with a cell for each field")
    if set(map(len, chain.from_iterable(rows))) - {2}:
        raise _other_answer("Query", "a cell is not a status and a value")
    return QueryAnswer(fields, rows)


def _other_answer(method: str, problem: str) -> GntError:
    return GntError("luxi_error", f"the master answered {method} with something else: {problem}")
