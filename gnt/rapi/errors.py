"""What a client of the remote API is told when something is wrong: `spec/rapi.md`, section 3."""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, GntError

REALM: Final = "Ganeti Remote API"

AGAIN_AFTER: Final = 10
"""Seconds after which a change is worth another try that was refused because too few candidates answer."""

# Codes of errors, ours and the master's, that mean more than a failure; all others are 500.
_STATUS: Final = {
    WRONG_INPUT: HTTPStatus.BAD_REQUEST,
    "parameter_error": HTTPStatus.BAD_REQUEST,
    "query_filter_parse_error": HTTPStatus.BAD_REQUEST,
    UNKNOWN_ENTITY: HTTPStatus.NOT_FOUND,
    "job_lost": HTTPStatus.NOT_FOUND,
    "no_master": HTTPStatus.BAD_GATEWAY,
    "connection_lost": HTTPStatus.BAD_GATEWAY,
    "luxi_error": HTTPStatus.BAD_GATEWAY,
    "too_large": HTTPStatus.BAD_GATEWAY,
    "bad_request": HTTPStatus.BAD_GATEWAY,
    "stale_epoch": HTTPStatus.BAD_GATEWAY,
    "queue_drained": HTTPStatus.SERVICE_UNAVAILABLE,
    "job_queue_drain_error": HTTPStatus.SERVICE_UNAVAILABLE,
    "job_queue_full": HTTPStatus.SERVICE_UNAVAILABLE,
    "no_majority": HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many": HTTPStatus.SERVICE_UNAVAILABLE,
    "timeout": HTTPStatus.GATEWAY_TIMEOUT,
}
# Clients know these sentences.
_MESSAGES: Final = {
    "queue_drained": "Job queue is drained, cannot submit",
    "job_queue_drain_error": "Job queue is drained, cannot submit",
    "job_queue_full": "Job queue is full, needs archiving",
}


class HttpError(GntError):
    """A request that is answered with a status of its own; `text` may be empty, `headers` go with the answer."""

    def __init__(self, status: HTTPStatus, text: str = "", *, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"http_{status.value}", text or status.phrase)
        self.status = status
        self.headers = headers or {}


def bad_request(text: str) -> HttpError:
    """Make the error for a request whose query or body is wrong."""
    return HttpError(HTTPStatus.BAD_REQUEST, text)


def not_found(text: str = "") -> HttpError:
    """Make the error for what there is not."""
    return HttpError(HTTPStatus.NOT_FOUND, text)


def not_supported(text: str) -> HttpError:
    """Make the error for what this version does not do."""
    return HttpError(HTTPStatus.NOT_IMPLEMENTED, text)


def unauthorized() -> HttpError:
    """Make the error for credentials that are missing or wrong; which of the two is not said."""
    return HttpError(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": f'Basic realm="{REALM}"'})


def status_of(error: GntError) -> HTTPStatus:
    """Give the status of an error."""
    if isinstance(error, HttpError):
        return error.status
    if error.code == "no_majority" and error.in_doubt:
        return HTTPStatus.GATEWAY_TIMEOUT
    return _STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)


def headers_of(error: GntError) -> dict[str, str]:
    """Give the headers that go with an error: when to try again what plainly changed nothing."""
    if isinstance(error, HttpError):
        return error.headers
    return {"Retry-After": str(AGAIN_AFTER)} if error.code == "no_majority" and not error.in_doubt else {}


def message_of(error: GntError) -> str:
    """Give the sentence of an error, its remedy included."""
    text = _MESSAGES.get(error.code, error.text)
    return f"{text} ({error.hint})" if error.hint else text


def error_body(status: HTTPStatus, message: str = "") -> bytes:
    """Give the body of an error: JSON with the code, a message (HTML escaped) and the standard explanation."""
    body: dict[str, Any] = {
        "code": status.value,
        "message": html.escape(message or status.phrase, quote=False),
        "explain": status.description or status.phrase,
    }
    return msgspec.json.encode(body) + b"\n"
