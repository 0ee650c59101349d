"""Names that people give: how they must look and how they are sorted."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from gnt.model.errors import WRONG_INPUT, Refused

MAX_NAME: Final = 255
MAX_DEVICE_NAME = 128
MAX_LABEL: Final = 63
MAX_TAG: Final = 128

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.ASCII)
_TAG = re.compile(r"[\w.+*/:@-]+", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_MAC_PREFIX = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){2}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_DIGITS = re.compile(r"(\d+)")

_HOST_KINDS: Final = frozenset({"cluster", "node", "instance"})


def nice_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give the key that sorts names as people count: node2 before node10."""
    parts = _DIGITS.split(name)
    return tuple((0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts))


def looks_like_uuid(text: str) -> bool:
    """Say whether a text has the form of a UUID, which no name may have."""
    return _UUID.fullmatch(text.lower()) is not None


def check_name(name: str, kind: str) -> str:
    """Give the name as it is stored, or refuse it.

    `kind` is `cluster`, `node`, `instance` (host names, stored in lower case), `group`, `network`, `disk`, `nic` or
    `tag`.
    """
    if kind == "tag":
        return check_tag(name)
    _refuse_dangerous(name, kind)
    if kind in _HOST_KINDS:
        return _check_host_name(name, kind)
    if not _WORD.fullmatch(name):
        raise Refused(
            WRONG_INPUT, f"{kind} name {name!r} has a character that is not allowed", hint="letters, digits and _ . + -"
        )
    return name


def _refuse_dangerous(name: str, kind: str) -> None:
    """Refuse what could leave a directory, be taken for an option, or be no name at all."""
    shown = repr(name if len(name) <= 80 else name[:77] + "...")
    if not name:
        raise Refused(WRONG_INPUT, f"{kind} name is empty")
    if len(name) > MAX_NAME:
        raise Refused(WRONG_INPUT, f"{kind} name {shown} is longer than {MAX_NAME} characters")
    if "/" in name or ".." in name or "\0" in name:
        raise Refused(WRONG_INPUT, f"{kind} name {shown} contains '/' or '..'")
    if name[0] in "-.":
        raise Refused(WRONG_INPUT, f"{kind} name {shown} begins with {name[0]!r}")
    if looks_like_uuid(name):
        raise Refused(WRONG_INPUT, f"{kind} name {shown} looks like a UUID")


def _check_host_name(name: str, kind: str) -> str:
    """Check labels as host names have them; a final dot is taken away."""
    lowered = name.lower().removesuffix(".")
    for label in lowered.split("."):
        if len(label) > MAX_LABEL or not _LABEL.fullmatch(label):
            raise Refused(
                WRONG_INPUT,
                f"{kind} name {name!r} is not a host name",
                hint=f"parts of letters, digits, _ and - (at most {MAX_LABEL}), joined by dots",
            )
    return lowered


def check_device_name(name: str | None, where: str) -> str | None:
    """Give the name of a disk or interface (`where`: `disk/0`) as it is stored: None, and `none`, is no name.

    One that is a number or looks like a UUID would be taken for an index or a UUID: it is refused.
    """
    if name is None or name.lower() == "none":
        return None
    if not name or len(name) > MAX_DEVICE_NAME or not name.isprintable() or "/" in name:
        raise Refused(WRONG_INPUT, f"{where}: {name[:MAX_DEVICE_NAME]!r} is not a name for a device")
    if name.lstrip("-").isdecimal() or looks_like_uuid(name):
        raise Refused(
            WRONG_INPUT, f"{where}: {name!r} is not a name for a device: it would be taken for an index or a UUID"
        )
    return name


def check_tag(tag: str) -> str:
    """Give the tag, or refuse it: 1 to 128 characters of letters, digits and `_.+*/:@-`."""
    if not tag or len(tag) > MAX_TAG:
        raise Refused(WRONG_INPUT, f"tag {tag[:40]!r} must have 1 to {MAX_TAG} characters")
    if not _TAG.fullmatch(tag):
        raise Refused(WRONG_INPUT, f"tag {tag!r} has a character that is not allowed", hint="letters, digits, _.+*/:@-")
    return tag


def check_mac(mac: str) -> str:
    """Give a full MAC address in lower case, or refuse it."""
    lowered = mac.lower()
    if not _MAC.fullmatch(lowered):
        raise Refused(WRONG_INPUT, f"{mac!r} is not a MAC address", hint="six octets such as aa:00:00:12:34:56")
    if int(lowered[:2], 16) & 1:
        raise Refused(WRONG_INPUT, f"MAC address {mac!r} is a multicast address", hint="the first octet must be even")
    return lowered


def check_mac_prefix(prefix: str) -> str:
    """Give the first three octets of MAC addresses in lower case, or refuse them."""
    lowered = prefix.lower()
    if not _MAC_PREFIX.fullmatch(lowered) or int(lowered[:2], 16) & 1:
        raise Refused(WRONG_INPUT, f"{prefix!r} is not a MAC prefix", hint="three octets such as aa:00:00, first even")
    return lowered


def check_ip(text: str, *, family: int | None = None) -> str:
    """Give an IP address in its usual form, or refuse it. `family` is 4, 6, or None for either."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Refused(WRONG_INPUT, f"{text!r} is not an IP address") from None
    if family is not None and address.version != family:
        raise Refused(WRONG_INPUT, f"{text} is not an IPv{family} address")
    return str(address)
