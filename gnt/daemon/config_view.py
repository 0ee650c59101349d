"""`config.data` as it is written, and noticing that somebody has written to it.

It is for reading only: what somebody changes there, or puts back from an old copy, never has any effect. So that nobody
believes otherwise, its digest is kept beside it, in the form that `sha256sum -c` reads.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Final

from gnt.daemon.files import write_atomically
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout

MODE: Final = 0o600


def digest_lines(layout: Layout, content: bytes) -> str:
    """Give what stands in the digest's file once `content` is written.

    The digest of what is there now stays as a second line, for a crash between this file and that one, unless
    somebody else wrote that.
    """
    new, known = _line(layout, content), _known(layout)
    lines = [new]
    with suppress(OSError):
        present = _line(layout, layout.config_data.read_bytes())
        if present != new and (present in known or not known):
            lines.append(present)
    return "".join(f"{line}\n" for line in lines)


def write_config_data(layout: Layout, text: str) -> None:
    """Write `config.data` and its digest. Raises `OSError`."""
    content = text.encode()
    write_atomically(layout.config_digest, digest_lines(layout, content), MODE)
    write_atomically(layout.config_data, content, MODE)


def refuse_edited(layout: Layout) -> None:
    """Refuse a `config.data` that is not what was written last. Raises `ConfigError` naming what to do instead."""
    known = _known(layout)
    try:
        content = layout.config_data.read_bytes()
    except OSError:
        return
    if known and _line(layout, content) not in known:
        raise ConfigError(
            f"{layout.config_data} was edited or put back from a copy, and that changes nothing: it is only written",
            code="edited",
            hint="gnt-cluster restore brings a backup back, gnt-cluster modify and the like change things; move the"
            " file away to start",
        )


def _line(layout: Layout, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {layout.config_data.name}"


def _known(layout: Layout) -> list[str]:
    with suppress(OSError, UnicodeDecodeError):
        return layout.config_digest.read_text(encoding="ascii").splitlines()
    return []
