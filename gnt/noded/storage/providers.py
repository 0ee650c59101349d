"""External storage providers on disk: spec/storage.md, section 9. All of it blocks, nothing is changed.

A provider is a directory of scripts; what is wrong with one is said in the words that administrators know.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gnt.wire.disk_calls import ProviderFacts

REQUIRED: Final = ("create", "attach", "detach", "remove", "grow", "setinfo", "verify")
OPTIONAL: Final = ("snapshot", "open", "close")
PARAMETERS: Final = "parameters.list"
_LIMIT: Final = 1 << 20


class _Broken(Exception):
    """What is wrong with a provider, in words."""


def list_providers(search: Iterable[Path]) -> list[ProviderFacts]:
    """List every provider in search order; a name that comes again later is shadowed by the first."""
    return [
        read_provider(entry.name, entry)
        for place in search
        for entry in _entries(place)
        if not entry.name.startswith(".") and entry.is_dir()
    ]


def find_provider(search: Iterable[Path], name: str) -> ProviderFacts:
    """Find a provider by its name; what is found may be broken, see `valid`."""
    if name and "/" not in name and not name.startswith("."):
        for place in search:
            if (place / name).is_dir():
                return read_provider(name, place / name)
    return ProviderFacts(
        name=name, path="", valid=False, diagnose=f"Directory for external storage provider {name} not found"
    )


def read_provider(name: str, directory: Path) -> ProviderFacts:
    """Read a provider, and say what is wrong with it."""
    try:
        for script in REQUIRED:
            _check_script(directory, script, required=True)
        for script in OPTIONAL:
            _check_script(directory, script, required=False)
        parameters = _parameters(directory / PARAMETERS)
    except _Broken as wrong:
        return ProviderFacts(name=name, path=str(directory), valid=False, diagnose=str(wrong))
    return ProviderFacts(name=name, path=str(directory), valid=True, parameters=parameters)


def _entries(place: Path) -> list[Path]:
    """Give what is in a directory of the search path, sorted; one that is not there is empty."""
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _check_script(directory: Path, name: str, *, required: bool) -> None:
    try:
        mode = (directory / name).stat().st_mode
    except FileNotFoundError:
        if required:
            raise _Broken(f"File '{name}' under path '{directory}' is missing") from None
        return
    except OSError as error:
        raise _Broken(f"File '{name}' under path '{directory}' cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise _Broken(f"File '{name}' under path '{directory}' is not a regular file")
    if not mode & stat.S_IXUSR:
        raise _Broken(f"File '{name}' under path '{directory}' is not executable")


def _parameters(path: Path) -> list[tuple[str, str]]:
    """Read the list of parameters: name and description in each line, without empty lines and comments."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Broken(f"File '{path.name}' under path '{path.parent}' is not a regular file")
        with path.open("rb") as file:
            text = file.read(_LIMIT).decode(errors="replace")
    except OSError as error:
        raise _Broken(f"File '{path.name}' under path '{path.parent}' is missing ({error.strerror})") from error
    lines = (line.strip() for line in text.splitlines())
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            name, *description = line.split(None, 1)
            found.append((name, description[0] if description else ""))
    return found
