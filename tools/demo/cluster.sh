#!/bin/bash
# cluster.sh NODES: a cluster of that many nodes on this machine's loopback addresses, with the hypervisor "fake". Needs no root.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tools/say.sh
. tools/demo/begin.sh

nodes=${1:-3}
[[ $nodes =~ ^[0-9]+$ ]] && [ "$nodes" -ge 1 ] && [ "$nodes" -le 50 ] || die "NODES is a number from 1 to 50, not '$nodes'" "make cluster NODES=3"
began=$SECONDS

# 127.0.0.0/8 is all this machine; take a part of it where nothing listens.
free_prefix() {
    local third
    for third in $(shuf -i 10-250); do
        if ! .venv/bin/python -c "
import socket, sys
for port in (1811, 5080):
    with socket.socket() as probe:
        probe.bind((sys.argv[1], port))
" "127.0.$third.1" 2>/dev/null; then
            continue
        fi
        echo "127.0.$third"
        return
    done
    die "ports 1811 and 5080 are taken on every loopback address" "end what listens there (ss -ltn)"
}

# on NODE COMMAND...: run a command as that node.
on() {
    local node=$1
    shift
    env GNT_ROOTDIR="$base/$node" GNT_HOSTNAME="$node" PATH="$PWD/.venv/bin:$PATH" "$@"
}

begin
prefix=$(free_prefix)
say "making the trees of $nodes nodes, $prefix.1 to $prefix.$nodes"
for n in $(seq "$nodes"); do lay_out "$n" "$prefix" "$prefix.1" "$nodes"; done
write_env "$prefix.1"

show node1 gnt-cluster init --enabled-hypervisors fake --master-netdev lo --no-ssh-init --no-etc-hosts demo
rapi_user
for n in $(seq 2 "$nodes"); do join "node$n"; done
show node1 gnt-node list

say "a cluster of $nodes nodes runs ($((SECONDS - began)) s). To look around:"
note ". .demo/env                     the gnt-* commands in this shell"
note "gnt-instance add -t diskless --no-install -o none --no-nics --ignore-ipolicy -n node1 test1"
note "gnt-instance startup test1; gnt-instance migrate -f -n node2 test1; gnt-instance list"
note "gnt-node list; gnt-job list; gnt-cluster verify"
note "curl -sK .demo/curl \$GNT_RAPI/2/info"
note "make demo-stop                  ends it and leaves nothing"
