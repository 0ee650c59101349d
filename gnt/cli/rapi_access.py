"""Who may use the remote API: tokens for programs, hashed passwords for its users file."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, option
from gnt.cli.failures import OK
from gnt.cli.terminal import note, say
from gnt.cli.values import seconds
from gnt.model.errors import WRONG_INPUT, Refused

LIFETIME: Final = 90 * 86400
NEVER: Final = "never"
_SCOPES: Final = ("read", "write", "metrics")
_HINT: Final = "add NAME, list, or revoke NAME"


def _token(call: Call) -> int:
    word, *names = call.arguments
    match word, names:
        case "list", []:
            return _list(call)
        case "add", [name]:
            return _add(call, name)
        case "revoke", [name]:
            return _revoke(call, name)
    raise Refused(WRONG_INPUT, f"rapi-token: {' '.join(call.arguments)[:60]} is no word for it", hint=_HINT)


def _add(call: Call, name: str) -> int:
    made = call.client.call("AddApiToken", name, call.option("scope", "read"), call.option("expires", LIFETIME))
    if call.json:
        call.print_json(made)
        return OK
    note(f"The token {name} (scope {made['scope']}, {_end(made['expires'])}); it is not shown again:")
    say(str(made["token"]))
    return OK


def _revoke(call: Call, name: str) -> int:
    gone = call.client.call("RevokeApiToken", name)
    if call.json:
        call.print_json(gone)
    else:
        say(f"The token {gone['name']} is worthless from now on.")
    return OK


def _list(call: Call) -> int:
    found = call.client.call("ApiTokens")
    if call.json:
        call.print_json(found)
        return OK
    for token in found:
        ended = " (expired)" if token["expired"] else ""
        say(f"{token['name']}  {token['id']}  {token['scope']}  {_end(token['expires'])}{ended}")
    return OK


def _end(expires: Any) -> str:
    return "ends never" if expires is None else f"ends {time.strftime('%Y-%m-%d %H:%M', time.localtime(expires))}"


def _password(call: Call) -> int:
    (name,) = call.arguments
    if not name or name.startswith("#") or any(sign.isspace() or sign == ":" for sign in name):
        raise Refused(WRONG_INPUT, f"rapi-password: {name[:60]!r} is no user name", hint="no spaces, no colons")
    password = _typed()
    if not password:
        raise Refused(WRONG_INPUT, "rapi-password: an empty password is none")
    from gnt.model.passwords import SALT_BYTES, hash_password  # noqa: PLC0415  (other commands do without)

    hashed = hash_password(password.encode(), os.urandom(SALT_BYTES)).text()
    options = call.option("options", "")
    line = f"{name} {{SCRYPT}}{hashed}{options and ' ' + options}"
    if call.json:
        call.print_json({"line": line})
    else:
        say(line)
    return OK


def _typed() -> str:
    """Give what is typed on the terminal, twice the same; without a terminal, the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise Refused(WRONG_INPUT, "rapi-password: these were two different passwords")
    return first


def _lifetime(text: str) -> int | None:
    return None if text == NEVER else seconds(text)


def _scope(text: str) -> str:
    if text not in _SCOPES:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(_SCOPES)}")
    return text


def _options(text: str) -> str:
    words = text.split(",")
    for word in words:
        if word not in {"read", "write"}:
            raise ValueError(f"{word[:40]!r} is neither read nor write")
    return ",".join(words)


COMMANDS: Final = (
    Command(
        name="rapi-token",
        help="make, list or revoke tokens with which programs use the remote API",
        run=_token,
        arguments=(Argument("add NAME|list|revoke NAME", 1, 2),),
        options=(
            option("--scope", help="what it may: read (the default), write or metrics", metavar="SCOPE", parse=_scope),
            option(
                "--expires",
                help="when it ends: 90d (default), 12h, 52w, or never",
                metavar="TIME",
                parse=_lifetime,
            ),
        ),
        examples=(
            "gnt-cluster rapi-token --scope write --expires 52w add terraform",
            "gnt-cluster rapi-token --scope metrics --expires never add prometheus",
            "gnt-cluster rapi-token revoke terraform",
        ),
        text="The token is printed once; the cluster keeps only a digest of it. Programs send it as"
        " `Authorization: Bearer TOKEN`, or as the password of any user where they know nothing else.",
    ),
    Command(
        name="rapi-password",
        help="hash a password, and print the line of the remote API's users file",
        run=_password,
        arguments=(Argument("user"),),
        options=(
            option("--options", help="what the user may: write, read, or nothing", metavar="WORDS", parse=_options),
        ),
        examples=("gnt-cluster rapi-password --options write ops >>/var/lib/ganeti/rapi/users",),
        text="Reads the password from the terminal, or from standard input where that is none. Asks no daemon.",
    ),
)
