#!/bin/bash
# enter.sh nodeN [COMMAND ARGUMENT...]: run a command (or a shell) on a node of the demo, as on that machine.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/../say.sh"
demo=$here/../../.demo
[ $# -ge 1 ] || die "usage: enter.sh nodeN [command]" "nodes: node1 node2 node3"
node=$1
shift
[ -e "$demo/base" ] || die "no demo runs here" "make demo"
base=$(cat "$demo/base")
[ $# -gt 0 ] || set -- bash --norc -i
as_node=(env GNT_ROOTDIR="$base/$node" GNT_HOSTNAME="$node" PATH="$(cd "$here/../.." && pwd)/.venv/bin:$PATH")
# In make cluster a node is a tree and its daemons; in make demo it has namespaces of its own.
[ -e "$base/room.pid" ] || [ ! -d "$base/$node" ] || exec "${as_node[@]}" "$@"
pid=$(cat "$base/$node/pid" 2>/dev/null) && running "$pid" || die "$node is no node of the running demo" "make demo"
exec nsenter --target "$pid" --mount --uts --ipc --net --pid="/proc/$pid/ns/pid_for_children" --wd=/ \
    "${as_node[@]}" "$@"
