"""gnt-network: making, changing, renaming and removing networks, and connecting them to node groups."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Option, from_opcode, option
from gnt.cli.jobs import run_command
from gnt.cli.lists import query_objects
from gnt.cli.many import run_each
from gnt.cli.options import CHANGING, FORCE, PLAN, PRIORITY, SUBMIT, TAGS
from gnt.cli.values import comma_list, key_values
from gnt.model.errors import WRONG_INPUT, Refused

ADD: Final = "OP_NETWORK_ADD"
MODIFY: Final = "OP_NETWORK_SET_PARAMS"
CONNECT: Final = "OP_NETWORK_CONNECT"
DISCONNECT: Final = "OP_NETWORK_DISCONNECT"
_CONNECTION: Final = "mode, link and vlan of interfaces in it"
_MODES: Final = ("bridged", "routed", "openvswitch")


def _add(call: Call) -> int:
    if call.option("network") is None:
        raise Refused(WRONG_INPUT, "--network is missing", hint="--network 192.0.2.0/24")
    return run_command(call, call.opcode(ADD, network_name=call.arguments[0]))


def _modify(call: Call) -> int:
    if not call.fields_of(MODIFY):
        raise Refused(WRONG_INPUT, "Please give at least one parameter to change", hint="gnt-network modify --help")
    return run_command(call, call.opcode(MODIFY, network_name=call.arguments[0]))


def _rename(call: Call) -> int:
    old, new = call.arguments
    return run_command(call, call.opcode("OP_NETWORK_RENAME", network_name=old, new_name=new))


def _remove(call: Call) -> int:
    return run_command(call, call.opcode("OP_NETWORK_REMOVE", network_name=call.arguments[0]))


def _groups(call: Call, named: list[str]) -> list[str]:
    """Give the groups that are meant: all of them where none is named."""
    return named or [row["name"] for row in query_objects(call, "group", ("name",))]


def _connect(call: Call) -> int:
    network, *groups = call.arguments
    given: dict[str, Any] = dict(call.option("nicparams") or {})
    if not given and len(groups) >= 2 and groups[0] in _MODES:
        # The older way to write it: NETWORK MODE LINK [GROUP...].
        given = {"mode": groups[0], "link": groups[1]}
        groups = groups[2:]
    unknown = sorted(set(given) - {"mode", "link", "vlan"})
    if unknown:
        raise Refused(WRONG_INPUT, f"-N {unknown[0]}: a connection has mode, link and vlan")
    if "link" not in given:
        raise Refused(WRONG_INPUT, "How do the nodes reach it?", hint="-N mode=bridged,link=br0")
    check = {"conflicts_check": call.option("conflicts_check", default=True)}
    opcodes = [
        (
            group,
            call.opcode(
                CONNECT,
                network_name=network,
                group_name=group,
                network_mode=given.get("mode", "bridged"),
                network_link=given["link"],
                network_vlan=given.get("vlan", ""),
                **check,
            ),
        )
        for group in _groups(call, groups)
    ]
    return run_each(call, opcodes)


def _disconnect(call: Call) -> int:
    network, *groups = call.arguments
    opcodes = [
        (group, call.opcode(DISCONNECT, network_name=network, group_name=group)) for group in _groups(call, groups)
    ]
    return run_each(call, opcodes)


def _addresses(opcode: str, *names: str) -> tuple[Option, ...]:
    return tuple(
        from_opcode(opcode, name, f"--{name.replace('_', '-')}", metavar="IP,...", parse=comma_list) for name in names
    )


def _routers(opcode: str) -> tuple[Option, ...]:
    return (
        from_opcode(opcode, "gateway", "--gateway", metavar="IP"),
        from_opcode(opcode, "network6", "--network6", metavar="SUBNET"),
        from_opcode(opcode, "gateway6", "--gateway6", metavar="IP"),
        from_opcode(opcode, "mac_prefix", "-m", "--mac-prefix", metavar="XX:XX:XX"),
    )


_NETWORK: Final = Argument("network", kind="network")
_SOME_GROUPS: Final = Argument("group", 0, None, kind="group")
_EACH: Final = (SUBMIT, PLAN, PRIORITY)
CHANGES: Final = (
    Command(
        name="add",
        help="make a network from which guests get their addresses",
        run=_add,
        options=(
            from_opcode(ADD, "network", "--network", metavar="SUBNET"),
            *_routers(ADD),
            *_addresses(ADD, "add_reserved_ips"),
            from_opcode(ADD, "conflicts_check", "--no-conflicts-check", help="reserve no addresses of the nodes"),
            TAGS.but(opcode=ADD, parameter="tags"),
            *CHANGING,
        ),
        arguments=(Argument("network"),),
        examples=("gnt-network add --network 192.0.2.0/24 --gateway 192.0.2.1 net1",),
    ),
    Command(
        name="modify",
        help="change a network; what is left out stays, none takes a value away",
        run=_modify,
        options=(*_routers(MODIFY), *_addresses(MODIFY, "add_reserved_ips", "remove_reserved_ips"), *CHANGING),
        arguments=(_NETWORK,),
        examples=("gnt-network modify --add-reserved-ips 192.0.2.7,192.0.2.8 net1",),
    ),
    Command(
        name="connect",
        help="say how the nodes of groups reach a network; of all groups if none is named",
        run=_connect,
        options=(
            option("-N", "--nic-parameters", metavar="K=V,...", parse=key_values, dest="nicparams", help=_CONNECTION),
            option(
                "--no-conflicts-check",
                dest="conflicts_check",
                const=False,
                help="although interfaces outside the network have its addresses",
            ),
            *_EACH,
        ),
        arguments=(_NETWORK, _SOME_GROUPS),
        examples=("gnt-network connect -N mode=bridged,link=br0 net1 default",),
    ),
    Command(
        name="disconnect",
        help="take a network away from groups; from all if none is named",
        run=_disconnect,
        options=_EACH,
        arguments=(_NETWORK, _SOME_GROUPS),
        examples=("gnt-network disconnect net1 default",),
    ),
    Command(
        name="remove",
        help="remove a network that no group is connected to",
        run=_remove,
        options=(FORCE, *CHANGING),
        arguments=(_NETWORK,),
        examples=("gnt-network remove net1",),
    ),
    Command(
        name="rename",
        help="give a network another name",
        run=_rename,
        options=CHANGING,
        arguments=(_NETWORK, Argument("new-name")),
        examples=("gnt-network rename net1 net2",),
    ),
)
