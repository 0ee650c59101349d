"""Guest OS definitions on disk: spec/os-interface.md, sections 1 to 3. All of it blocks, nothing is changed.

A definition is a directory of scripts; what is wrong with one is said in the words that administrators know.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.wire.calls import OsFacts

SUPPORTED: Final = frozenset({10, 15, 20})
VERSION_FILE: Final = "ganeti_api_version"
_SCRIPTS: Final = ("import", "export", "rename")
_LIMIT: Final = 1 << 20


class _Broken(Exception):
    """What is wrong with a definition, in words."""


def split_os(text: str) -> tuple[str, str]:
    """Split what an instance says of its OS into name and variant; the variant may be empty."""
    name, _, variant = text.partition("+")
    return name, variant


def version_of(facts: OsFacts) -> int:
    """Give the API version in which a valid definition is used: the highest that it and we know."""
    return max(SUPPORTED.intersection(facts.api_versions))


def list_definitions(search: Iterable[Path]) -> list[OsFacts]:
    """List every definition in search order; a name that comes again later is shadowed by the first."""
    return [
        read_definition(entry.name, entry)
        for place in search
        for entry in _entries(place)
        if not entry.name.startswith(".") and entry.is_dir()
    ]


def find_definition(search: Iterable[Path], name: str) -> OsFacts:
    """Find a definition by its name without variant; what is found may be broken, see `valid`."""
    if name and "/" not in name and not name.startswith("."):
        for place in search:
            if (place / name).is_dir():
                return read_definition(name, place / name)
    return OsFacts(name=name, path="", valid=False, diagnose=f"Directory for OS {name} not found in search path")


def read_definition(name: str, directory: Path) -> OsFacts:
    """Read a definition, and say what is wrong with it."""
    versions: list[int] = []
    try:
        versions = _read_versions(directory)
        trusted = _check_scripts(directory, max(versions))
        return OsFacts(
            name=name,
            path=str(directory),
            valid=True,
            variants=_read_variants(directory, max(versions)),
            parameters=_read_parameters(directory, max(versions)),
            api_versions=versions,
            trusted=trusted,
        )
    except _Broken as wrong:
        return OsFacts(name=name, path=str(directory), valid=False, diagnose=str(wrong), api_versions=versions)


def check_variant(facts: OsFacts, text: str) -> None:
    """Check the variant that an OS text names, or does not name. Raises `NodeFailure` (wrong_input)."""
    name, variant = split_os(text)
    if not facts.variants:
        if variant:
            raise NodeFailure("wrong_input", f"OS '{name}' does not support variants ('{variant}' passed)")
    elif not variant:
        raise NodeFailure("wrong_input", f"OS name '{text}' must include a variant", hint=_choices(facts))
    elif variant not in facts.variants:
        raise NodeFailure("wrong_input", f"OS '{name}' has no variant '{variant}'", hint=_choices(facts))


def check_parameters(facts: OsFacts, parameters: Mapping[str, str]) -> None:
    """Refuse parameters that a definition of API 20 does not know; older ones are not asked.

    Raises `NodeFailure` (wrong_input).
    """
    if version_of(facts) < 20:
        return
    unknown = sorted(set(parameters) - {name for name, _ in facts.parameters})
    if unknown:
        raise NodeFailure(
            "wrong_input", f"The following parameters are not supported by the OS {facts.name}: {', '.join(unknown)}"
        )


def _choices(facts: OsFacts) -> str:
    return f"one of {', '.join(f'{facts.name}+{variant}' for variant in facts.variants)}"


def _entries(place: Path) -> list[Path]:
    """Give what is in a directory of the search path, sorted; one that is not there is empty."""
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _read_versions(directory: Path) -> list[int]:
    path = directory / VERSION_FILE
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _Broken(f"Required file '{VERSION_FILE}' not found under path {directory}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise _Broken(f"File '{VERSION_FILE}' in {directory} is not a regular file")
    lines = [line.strip() for line in _read(path).splitlines()]
    try:
        versions = [int(line) for line in lines if line]
    except ValueError as error:
        raise _Broken(f"API version(s) can't be converted to integer: {error}") from error
    if not SUPPORTED.intersection(versions):
        raise _Broken(f"API version mismatch for path '{directory}': found {versions}, want {sorted(SUPPORTED)}.")
    return versions


def _check_scripts(directory: Path, version: int) -> bool:
    """Check that every script is there and can run; say whether `create` is to be trusted on the node itself."""
    for name in (*_SCRIPTS, *(("verify",) if version >= 20 else ())):
        _check_file(directory, name, executable=True)
    if version >= 20:
        _check_file(directory, "parameters.list", executable=False)
    trusted, untrusted = ((directory / name).exists() for name in ("create", "create_untrusted"))
    if not trusted and not untrusted:
        raise _Broken(f"A create script (trusted or untrusted) under path '{directory}' must exist")
    for name, there in (("create", trusted), ("create_untrusted", untrusted)):
        if there:
            _check_file(directory, name, executable=True)
    return trusted


def _check_file(directory: Path, name: str, *, executable: bool) -> None:
    try:
        mode = (directory / name).stat().st_mode
    except OSError as error:
        raise _Broken(f"File '{name}' under path '{directory}' is missing ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise _Broken(f"File '{name}' under path '{directory}' is not a regular file")
    if executable and not mode & stat.S_IXUSR:
        raise _Broken(f"File '{name}' under path '{directory}' is not executable")


def _read_variants(directory: Path, version: int) -> list[str]:
    path = directory / "variants.list"
    if version < 15 or not path.exists():
        return []
    _check_file(directory, path.name, executable=False)
    return _lines(path)


def _read_parameters(directory: Path, version: int) -> list[tuple[str, str]]:
    if version < 20:
        return []
    found = []
    for line in _lines(directory / "parameters.list"):
        name, *text = line.split(None, 1)
        found.append((name, text[0] if text else ""))
    return found


def _lines(path: Path) -> list[str]:
    """Read a list: one item in each line, without empty lines and comments."""
    lines = (line.strip() for line in _read(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode(errors="replace")
    except OSError as error:
        raise _Broken(f"File '{path.name}' under path '{path.parent}' cannot be read ({error.strerror})") from error
