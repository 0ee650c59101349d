"""An administrator's order that the master daemon becomes master here although the log names another node.

The program that was run leaves it in a file, the daemon takes it away when it starts: it counts for one start.
"""

from __future__ import annotations

import msgspec

from gnt.daemon.files import remove_durably, write_atomically
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout

MODE = 0o600


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """What was ordered. `here`: become master although the log names another node.

    `no_voting`: candidates that do not answer are flagged offline by force; that they are switched off was said.
    `unheard`: also where nodes have not heard that this one is a candidate; that they will not obey was said.
    """

    here: bool = True
    no_voting: bool = False
    unheard: bool = False


def leave_order(layout: Layout, order: Takeover) -> None:
    """Leave an order for the next start of the master daemon. Blocks."""
    write_atomically(layout.takeover, msgspec.json.encode(order), MODE)


def take_order(layout: Layout) -> Takeover | None:
    """Take the order away, and give it. Blocks. Raises `ConfigError` if it cannot be read."""
    try:
        content = layout.takeover.read_bytes()
    except FileNotFoundError:
        return None
    remove_durably(layout.takeover)
    try:
        return msgspec.json.decode(content, type=Takeover)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{layout.takeover} was damaged and is taken away: {error}") from None
