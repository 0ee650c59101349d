"""The cluster itself, its guest OS definitions, its tags, and queries about anything."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError

from gnt.model.errors import GntError
from gnt.opcodes.cluster import ClusterRedistConf
from gnt.opcodes.cluster_modify import ClusterSetParams
from gnt.opcodes.query import OsDiagnose
from gnt.opcodes.tags import TagsDel, TagsSet
from gnt.rapi import body
from gnt.rapi.errors import HttpError
from gnt.rapi.resources.base import (
    DRY_RUN,
    Access,
    Call,
    Resource,
    Submit,
    changes,
    reads,
    several,
    shows,
    split,
    words,
)
from gnt.rapi.resources.shapes import NOTHING, OBJECT, QUERY, QUERY_FIELDS, STRINGS

VERSION: Final = 2
FEATURES: Final = ("instance-create-reqv1", "instance-reinstall-reqv1", "node-migrate-reqv1", "node-evac-res1")
FINAL: Final = frozenset({"success", "error", "canceled"})
OS_WAIT: Final = 60.0
_OS_FIELDS: Final = ("name", "valid", "hidden", "blacklisted", "variants")


async def root(call: Call) -> None:
    """Give nothing: there is something here."""
    del call


async def version(call: Call) -> int:
    """Give the version of this API."""
    del call
    return VERSION


async def features(call: Call) -> list[str]:
    """Name what clients may rely on."""
    del call
    return list(FEATURES)


async def info(call: Call) -> dict[str, Any]:
    """Describe the cluster; two names are kept for clients since 2.11."""
    found = await call.ask("QueryClusterInfo")
    if not isinstance(found, dict):
        raise GntError("luxi_error", "the master answered QueryClusterInfo with something else")
    return {
        **found,
        "vg_name": found.get("volume_group_name"),
        "drbd_helper": found.get("drbd_usermode_helper"),
    }


async def guest_systems(call: Call) -> list[str]:
    """Name the guest OS definitions that can be installed, with their variants; a job finds them."""
    number = await call.master.submit([OsDiagnose(output_fields=_OS_FIELDS, reason=call.reason())])
    try:
        await _finished(call, number)
    except CancelledError:
        await call.master.change("CancelJob", number)
        raise
    answer = await call.master.call("QueryJobs", [number], ["status", "opresult"])
    match answer:
        case [["success", [list(found)]]]:
            return [name for row in found for name in _installable(row)]
    raise HttpError(HTTPStatus.BAD_GATEWAY, f"Can't get the list of guest OS definitions: see job {number}")


async def _finished(call: Call, number: int) -> None:
    """Wait for a job's end, as long as something happens. Raises `GntError` (`timeout`)."""
    last: list[Any] | None = None
    while last is None or last[0] not in FINAL:
        change = await call.master.wait_for_job_change(number, ["status"], last, None, OS_WAIT)
        if change is None or not change.info:
            raise GntError("timeout", f"job {number} does not end; it goes on")
        last = change.info


def _installable(row: Any) -> list[str]:
    """Give the names of one definition: with each variant if it has any, none if it is not for use."""
    match row:
        case [str(name), valid, hidden, blacklisted, variants]:
            if not valid or hidden or blacklisted:
                return []
            return [f"{name}+{variant}" for variant in variants or ()] or [name]
    return []


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What the body of a query says; `filter` is the older name of `qfilter`, and Debian's client gives both."""

    fields: list[str] | None = None
    qfilter: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    filter: list[Any] | msgspec.UnsetType | None = msgspec.UNSET


async def query(call: Call) -> Any:
    """Give the fields that the query names of all objects of a kind."""
    fields = split(call.query.required("fields"))
    return await call.ask("Query", call.names["resource"], fields, None)


async def query_filtered(call: Call) -> Any:
    """Give the fields that body or query name of the objects that pass the body's filter."""
    given = body.as_form(call.body, Query)
    fields = split(call.query.required("fields")) if given.fields is None else given.fields
    wanted = given.filter if given.qfilter is msgspec.UNSET else given.qfilter
    return await call.master.call("Query", call.names["resource"], fields, None if wanted is msgspec.UNSET else wanted)


async def query_fields(call: Call) -> Any:
    """Describe fields of a kind of object."""
    wanted = call.query.text("fields")
    return await call.master.call("QueryFields", call.names["resource"], None if wanted is None else split(wanted))


def settable(given: dict[str, Any]) -> dict[str, Any]:
    """Refuse what a remote client may not set: tools that the nodes then run as root. Raises `HttpError` (403)."""
    if "compression_tools" in given:
        raise HttpError(HTTPStatus.FORBIDDEN, "$.compression_tools: cannot be set over this API")
    return given


def tag_rows(path: str, kind: str, part: str = "") -> tuple[Resource, ...]:
    """Make the rows of an object's tags; `part` is the part of the path that names it."""
    within = {part: "name"} if part else {}

    async def tags(call: Call) -> Any:
        """Give the tags."""
        return await call.ask("QueryTags", kind, call.names[part] if part else "")

    query = (several("tag", "tags"), DRY_RUN)
    fixed = {"kind": kind}
    return (
        shows(path, tags, gives=STRINGS),
        changes("PUT", path, Submit(opcode=TagsSet, path=within, query=query, fixed=fixed)),
        changes("DELETE", path, Submit(opcode=TagsDel, path=within, query=query, fixed=fixed)),
    )


ROWS: Final = (
    reads("/", root, gives=NOTHING),
    reads("/2", root, gives=NOTHING),
    reads("/version", version, Access.PUBLIC, gives={"const": VERSION}),
    shows("/2/info", info, gives=OBJECT),
    reads("/2/features", features, gives=STRINGS),
    reads("/2/os", guest_systems, needs=(OsDiagnose,), gives=STRINGS),
    changes("PUT", "/2/redistribute-config", Submit(opcode=ClusterRedistConf), called="redist_config"),
    changes("PUT", "/2/modify", Submit(opcode=ClusterSetParams, body=True, prepare=settable), called="cluster_modify"),
    *tag_rows("/2/tags", "cluster"),
    shows("/2/query/[resource]", query, Access.READ, query=(words("fields"),), gives=QUERY),
    Resource(
        path="/2/query/[resource]",
        method="PUT",
        access=Access.READ,
        does=query_filtered,
        query=(words("fields", must=False),),
        given=Query,
        gives=QUERY,
    ),
    reads("/2/query/[resource]/fields", query_fields, query=(words("fields", must=False),), gives=QUERY_FIELDS),
)
