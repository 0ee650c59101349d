#!/bin/bash
# room.sh BASE NODES [CABLE]: the demo's machine room, as root. Nodes with names, addresses, namespaces and a libvirtd of their own.
#
#   host ── CABLE ───┐ (the only thing that the host's network sees: one end of a cable, address SUBNET.254;
#                    │  gntdemo if not said otherwise)
#   ┌ room: own network, processes and mounts ─────────────────────────────────┐
#   │  room0 (bridge) ── node1 (br0: SUBNET.1) ── node2 (br0: SUBNET.2) ── …    │
#   └───────────────────────────────────────────────────────────────────────────┘
#
# Everything in the room descends from one process; when that ends, the kernel ends and frees all the rest.
# Writes BASE/room.pid, BASE/subnet, BASE/nodeN/pid (all pids as this host counts them); BASE/nodeN is the node's GNT_ROOTDIR.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/../say.sh"
base=$1 nodes=$2 cable=${3:-gntdemo}

# A /24 that collides with no route of this host.
free_subnet() {
    local try
    for try in 10.98.7 10.98.77 172.30.98 192.168.198 10.198.7 172.29.77; do
        if [ -z "$(ip -4 route show root "$try.0/24")" ] &&
            [ -z "$(ip -4 route show match "$try.0/24" | grep -v '^default')" ]; then
            echo "$try"
            return 0
        fi
    done
    return 1
}

room_inside() { # PID 1 of the room
    local n d pid
    trap 'exit 0' TERM
    ip link set lo up
    ip link add room0 type bridge forward_delay 0
    ip link set room0 up
    for n in $(seq "$nodes"); do
        d=$base/node$n
        unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc --propagation private \
            "$here/node.sh" "$base" "$n" "$nodes" "$subnet" >"$d/node.log" 2>&1 &
        pid=$!
        until [ -e "$d/waits" ]; do running $pid && sleep 0.02 || exit 1; done
        ip link add "node$n" type veth peer name eth0 netns "/proc/$pid/ns/net"
        ip link set "node$n" master room0 up
        touch "$d/cable"
    done
    touch "$base/room.up"
    while :; do wait -n 2>/dev/null || sleep 1; done
}

if [ "$cable" = inside ]; then
    subnet=$4
    room_inside
    exit
fi

[ ! -e "/sys/class/net/$cable" ] || die "this machine has an interface $cable already: another demo runs here" "make demo-stop, in the checkout that started it"
subnet=$(free_subnet) || die "found no private network (/24) that this host does not use"
mkdir -p "$base"
echo "$subnet" >"$base/subnet"
echo "$cable" >"$base/cable"
for n in $(seq "$nodes"); do mkdir -p "$base/node$n"; done
rm -f "$base/room.up" "$base"/node*/{waits,cable}

# Killing this first process ends the room: --kill-child passes it on, and a pid namespace dies with its first process.
setsid unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc --propagation private \
    "$(readlink -f "$0")" "$base" "$nodes" inside "$subnet" >"$base/room.log" 2>&1 </dev/null &
room=$!
echo "$room $(started $room)" >"$base/room.pid"
for _ in $(seq 750); do
    [ -e "$base/room.up" ] && break
    running $room || break
    sleep 0.04
done
[ -e "$base/room.up" ] || {
    tail -q -n 3 "$base/room.log" "$base"/node*/node.log >&2 || true
    die "could not build namespaces for the nodes" "in a container: run it privileged; or make cluster, which needs no root"
}
ip link add "$cable" type veth peer name host netns "/proc/$room/ns/net"
ip address add "$subnet.254/24" dev "$cable"
ip link set "$cable" up
nsenter -t "$room" -n ip link set host master room0 up

for n in $(seq "$nodes"); do
    # The process that holds the node's namespaces: tools/demo/enter.sh goes in through it.
    pgrep -P "$(pgrep -P "$room")" -f "node.sh $base $n " >"$base/node$n/pid"
    for _ in $(seq 750); do
        [ -S "$base/node$n/run/libvirt/libvirt-sock" ] && break
        sleep 0.04
    done
    [ -S "$base/node$n/run/libvirt/libvirt-sock" ] || {
        tail -n 5 "$base/node$n/node.log" "$base/node$n/log/libvirtd.log" >&2
        die "libvirtd did not start on node$n"
    }
done
