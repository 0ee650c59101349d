"""Setting up a guest's tap device: routes, or the administrator's own script. spec/hypervisors.md, section 4."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.model.specs import NicSpec

LONGEST_RUN: Final = 120.0
"""Seconds that a script, or a command, has for one interface; the thread that waits is one of few."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORWARDING = (
    "/proc/sys/net/ipv4/conf/{}/proxy_arp",
    "/proc/sys/net/ipv4/conf/{}/forwarding",
    "/proc/sys/net/ipv6/conf/{}/proxy_ndp",
    "/proc/sys/net/ipv6/conf/{}/forwarding",
)


def own_script(etc: Path) -> Path | None:
    """Give the administrator's `kvm-vif-bridge`, which takes the place of all else, if it is there."""
    script = etc / "kvm-vif-bridge"
    return script if os.access(script, os.X_OK) and script.is_file() else None


def environment(nic: NicSpec, tap: str, instance: str, tags: str) -> dict[str, str]:
    """Give what the script is told."""
    told = {
        "PATH": _PATH,
        "INSTANCE": instance,
        "MAC": nic.mac,
        "MODE": str(nic.mode),
        "INTERFACE": tap,
        "INTERFACE_INDEX": str(nic.index),
        "INTERFACE_UUID": nic.uuid,
        "TAGS": tags,
    }
    optional = {"IP": nic.ip, "INTERFACE_NAME": nic.name, "LINK": nic.link, "VLAN": nic.vlan}
    if nic.mode == "bridged":
        optional["BRIDGE"] = nic.link
    if nic.network is not None:
        network = nic.network
        optional |= {
            "NETWORK_NAME": network.name,
            "NETWORK_UUID": network.uuid,
            "NETWORK_TAGS": " ".join(network.tags),
            "NETWORK_SUBNET": network.network,
            "NETWORK_GATEWAY": network.gateway,
            "NETWORK_SUBNET6": network.network6,
            "NETWORK_GATEWAY6": network.gateway6,
            "NETWORK_MAC_PREFIX": network.mac_prefix,
        }
    return told | {name: value for name, value in optional.items() if value}


def routing_commands(nic: NicSpec, tap: str) -> list[list[str]]:
    """Give the commands that route an address to a tap device; `link` is a routing table, or empty."""
    if nic.ip is None:
        raise NodeFailure("parameter", f"nic/{nic.index} is routed and has no IP address", hint="set its ip")
    commands = [["ip", "link", "set", tap, "up"]]
    if nic.link:
        commands += [
            ["ip", "rule", "add", "dev", tap, "table", nic.link],
            ["ip", "route", "replace", nic.ip, "table", nic.link, "proto", "static", "dev", tap],
        ]
    else:
        commands.append(["ip", "route", "replace", nic.ip, "proto", "static", "dev", tap])
    return commands


def set_up(nic: NicSpec, tap: str, instance: str, tags: str, script: Path | None) -> None:
    """Set a tap device up. `script_failed` with the end of what was said if that does not work."""
    if script is not None:
        _run([str(script), tap], tap, environment(nic, tap, instance, tags))
        return
    if nic.link:
        # A rule for an earlier guest on a tap of the same name; most often there is none.
        with contextlib.suppress(NodeFailure):
            _run(["ip", "rule", "del", "dev", tap], tap, {"PATH": _PATH})
    for command in routing_commands(nic, tap):
        _run(command, tap, {"PATH": _PATH})
    for switch in _FORWARDING:
        path = Path(switch.format(tap))
        if path.exists():
            path.write_text("1")


def _run(command: Sequence[str], tap: str, told: Mapping[str, str]) -> None:
    """Run a command to its end; what it leaves in the background may go on, and holds up nobody."""
    failed = f"Failed to configure interface {tap}"
    with tempfile.TemporaryFile() as said:
        try:
            program = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=dict(told), start_new_session=True
            )
        except OSError as error:
            raise NodeFailure("script_failed", f"{failed}: {error}") from error
        try:
            status = program.wait(LONGEST_RUN)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            text = f"{failed}: {command[0]} did not end in {LONGEST_RUN:g} seconds"
            raise NodeFailure("script_failed", text) from None
        if status:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-500:]
            raise NodeFailure("script_failed", f"{failed}: {words or f'exit status {status}'}")
