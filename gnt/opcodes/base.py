"""What every opcode is: a frozen struct with the common parameters, told apart on the wire by `OP_ID`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.secret import REDACTED, guarded_repr

JobFinalStatus = Literal["canceled", "error", "success"]
SubmitPriority = Literal[-10, 0, 10]

# Parameters of these names hold values that are hidden wherever they turn up, also in opcodes within opcodes.
PRIVATE_PARAMETERS: Final = frozenset({"osparams_private", "osparams_private_cluster"})
SECRET_PARAMETERS: Final = frozenset({"osparams_secret"})
HIDDEN_PARAMETERS: Final = PRIVATE_PARAMETERS | SECRET_PARAMETERS


def Doc(  # noqa: N802  (reads as the annotation that it makes)
    text: str,
    *,
    ge: int | None = None,
    gt: int | None = None,
    min_length: int | None = None,
) -> msgspec.Meta:
    """Make the annotation of a parameter: one line for people, and at most one bound that the decoder enforces."""
    if ge is not None:
        return msgspec.Meta(description=text, ge=ge)
    if gt is not None:
        return msgspec.Meta(description=text, gt=gt)
    return msgspec.Meta(description=text, min_length=min_length)


class Opcode(msgspec.Struct, frozen=True, kw_only=True, tag_field="OP_ID", forbid_unknown_fields=True):
    """One thing that can be asked of the cluster. Subclasses name their `OP_ID` as the struct tag."""

    # The parameter that the summary shows, and the first release of Ganeti that knew the opcode.
    SUMMARY_FIELD: ClassVar[str] = ""
    SINCE: ClassVar[str] = "2.0"

    dry_run: Annotated[bool | None, Doc("stop once everything is checked, before anything changes")] = None
    debug_level: Annotated[Annotated[int, msgspec.Meta(ge=0)] | None, Doc("how much to log for developers")] = None
    priority: Annotated[SubmitPriority, Doc("-10 goes before, 10 after others")] = 0
    depends: Annotated[
        tuple[tuple[int, tuple[JobFinalStatus, ...]], ...] | None,
        Doc("jobs to wait for, each with the statuses it may end in; negative numbers count back in one submission"),
    ] = None
    comment: Annotated[str | None, Doc("free text, kept with the job")] = None
    reason: Annotated[list[Any] | None, Doc("who asked and why: [source, text, nanoseconds] for each step")] = (
        msgspec.field(default_factory=list)
    )

    def __repr__(self) -> str:
        """Show the parameters as structs do, but no private or secret value."""
        shown = {name: hide({name: getattr(self, name)}, HIDDEN_PARAMETERS)[name] for name in self.__struct_fields__}
        return guarded_repr(self, shown)

    @classmethod
    def op_id(cls) -> str:
        """Give the identity on the wire, such as `OP_INSTANCE_SHUTDOWN`."""
        return str(cls.__struct_config__.tag)

    def summary(self) -> str:
        """Give the short form that job lists show: `INSTANCE_SHUTDOWN(web1)`.

        Lists are joined with commas; nothing given shows as `None`.
        """
        name = self.op_id().removeprefix("OP_")
        if not self.SUMMARY_FIELD:
            return name
        value = getattr(self, self.SUMMARY_FIELD)
        shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return f"{name}({shown})"

    def fault(self, path: str, text: str, *, hint: str = "") -> Refused:
        """Make the refusal of a parameter value. `path` begins with the parameter: `disks[0].size`."""
        return bad_parameter(self.op_id(), f"$.{path}", text, hint=hint)


def hide(value: Any, names: frozenset[str]) -> Any:
    """Give a JSON value in which the parameters of these names keep their keys, but not their values.

    They are found at any depth: an opcode may carry other opcodes.
    """
    if isinstance(value, dict):
        return {
            key: _hide_leaves(item) if key in names and item is not None else hide(item, names)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(hide(item, names) for item in value)
    return value


def _hide_leaves(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hide_leaves(item) for key, item in value.items()}
    return REDACTED


def bad_parameter(op_id: str, path: str, text: str, *, hint: str = "") -> Refused:
    """Make the refusal of a parameter: opcode, path of the fault, what is wrong with it."""
    return Refused(WRONG_INPUT, f"{op_id}: {path}: {text}", hint=hint)


class InstanceOpcode(Opcode, frozen=True, kw_only=True):
    """An opcode about one instance."""

    SUMMARY_FIELD: ClassVar[str] = "instance_name"

    instance_name: Annotated[str, Doc("name or UUID of the instance")]
    instance_uuid: Annotated[
        Annotated[str, msgspec.Meta(min_length=1)] | None,
        Doc("UUID of the instance; given together with the name, both must mean the same one"),
    ] = None


class NodeOpcode(Opcode, frozen=True, kw_only=True):
    """An opcode about one node."""

    SUMMARY_FIELD: ClassVar[str] = "node_name"

    node_name: Annotated[str, Doc("name or UUID of the node", min_length=1)]
    node_uuid: Annotated[
        Annotated[str, msgspec.Meta(min_length=1)] | None,
        Doc("UUID of the node; given together with the name, both must mean the same one"),
    ] = None
