#!/bin/bash
# stop.sh [BASE]: end what demo or cluster left running. Nothing remains: no process, mount, namespace, interface, loop device, file.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tools/say.sh

if [ $# -gt 0 ]; then
    base=$1
else
    [ -e .demo ] || { say "nothing runs here"; exit 0; }
    base=$(cat .demo/base 2>/dev/null || echo "$PWD/.demo")
fi
cable=$(cat "$base/cable" 2>/dev/null || echo gntdemo)

# gone PID SECONDS: wait until a process has ended.
gone() {
    local end=$((SECONDS + $2))
    while running "$1"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# The room: its first process takes everything in it along.
if [ -e "$base/room.pid" ]; then
    read -r pid when <"$base/room.pid"
    if running "$pid" && [ "$(started "$pid")" = "$when" ]; then
        is_root || die "the demo runs as root" "sudo make demo-stop"
        say "ending the nodes and their guests"
        space=$(readlink "/proc/$pid/ns/pid_for_children" | tr -dc 0-9)
        kill -KILL "$pid"
        gone "$pid" 10 || die "process $pid does not end"
        for _ in $(seq 200); do
            lsns --noheadings --type pid --output NS | grep -qw "$space" || break
            sleep 0.05
        done
    fi
    for _ in $(seq 100); do
        [ -e "/sys/class/net/$cable" ] || break
        sleep 0.05
    done
    ip link delete "$cable" 2>/dev/null || true
fi

# Daemons on this host itself (make cluster): told to end, waited for, then made to.
pids=
for file in "$base"/node*/var/run/ganeti/gnt-*.pid; do
    [ -e "$file" ] && [ ! -e "$base/room.pid" ] || continue
    pid=$(cat "$file")
    # A number in an old file may be somebody else's by now.
    if running "$pid" && tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -q "^GNT_ROOTDIR=$base/node"; then
        pids+=" $pid"
    fi
done
if [ -n "$pids" ]; then
    say "ending the daemons:$pids"
    kill -TERM $pids 2>/dev/null || true
    for pid in $pids; do
        gone "$pid" 10 || { warn "process $pid did not end by itself"; kill -KILL "$pid" 2>/dev/null || true; gone "$pid" 5; }
    done
fi

# Loop devices that a guest OS script was interrupted with.
if is_root && has losetup; then
    losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null | while read -r loop file; do
        case $file in
        "$base"/*) losetup --detach "$loop" ;;
        esac
    done
fi

case $base in
"$PWD/.demo" | /tmp/gnt.*) rm -rf "$base" ;;
*) warn "not removing $base: it does not look like ours" ;;
esac
[ $# -gt 0 ] || rm -rf .demo
say "nothing is left"
