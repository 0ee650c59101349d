"""Putting a certificate that an administrator has bought in place of the remote API's, on this node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gnt.daemon.files import write_atomically
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, ConfigError, Refused
from gnt.model.layout import Layout
from gnt.wire.certificates import check_server

SECRET = 0o600


class RapiCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that holds key and certificate, perhaps with those above it."""

    path: str


def put_certificate(request: RapiCertificate, layout: Layout) -> dict[str, Any]:
    """Check the file and put its content in place; the remote API reads it anew by itself.

    Raises `Refused` if it cannot be read, or does not hold what is needed.
    """
    try:
        content = Path(request.path).read_bytes()
    except OSError as error:
        raise Refused(ENVIRONMENT, f"{request.path}: {error.strerror}") from None
    try:
        check_server(content, request.path)
    except ConfigError as error:
        raise Refused(WRONG_INPUT, error.text, hint=error.hint) from None  # no file of ours
    write_atomically(layout.rapi_pem, content, SECRET)
    return {"path": str(layout.rapi_pem)}
