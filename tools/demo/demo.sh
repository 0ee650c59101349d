#!/bin/bash
# demo.sh: three nodes and a real virtual machine on this machine, step by step as an administrator would do it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tools/say.sh
. tools/demo/begin.sh

is_root || die "make demo needs root: it gives each node its own network, mounts and processes, and runs libvirt there" \
    "sudo make demo; or, without root and without a real guest: make cluster"
tools/setup.sh venv packages guest
for program in libvirtd virt-admin qemu-system-x86_64 ip unshare nsenter curl; do
    has "$program" || die "make demo needs the program $program" "see what was said above about packages; or: make cluster"
done
[ -e .cache/guest/initrd ] || die "make demo needs the small guest's kernel" "see what was said above; or: make cluster"
began=$SECONDS
nodes=3

# on NODE COMMAND...: run a command on a node, in its namespaces.
on() { tools/demo/enter.sh "$@"; }

# greeting SECONDS: attach to web1's console as anybody on this host can, type "greet" until the guest answers, show the answer.
greeting() {
    local out=.demo/console.txt keys=.demo/keys pid
    printf '\n%s$%s gnt-instance console web1\n' "$SAY_ON" "$SAY_OFF"
    rm -f $keys && mkfifo $keys && : >$out
    (. .demo/env && exec gnt-instance console web1) <$keys >$out 2>&1 &
    pid=$!
    exec 3>$keys
    for _ in $(seq "$1"); do
        running $pid || break
        echo greet >&3 || break
        sleep 1
        ! tr -d '\r' <$out | grep -A 3 'hello from web1' | grep -q 'MiB, .* CPU' || break
    done
    exec 3>&-
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    rm -f $keys
    grep -q 'hello from web1' $out || {
        tail -n 5 $out >&2
        die "the guest did not greet within $1 seconds" "its console's log: $base/node*/var/log/ganeti/kvm; QEMU's: $base/node*/libvirt/log/qemu"
    }
    # A whole greeting; the first may have begun before we were there.
    tr -d '\r' <$out | awk '/^greet$/ { next } /hello from web1/ { text = "" } { text = text "    | " $0 "\n" }
        /MiB, .* CPU/ && text ~ /hello/ { printf "%s", text; exit }'
}

begin
say "finding out what guests can run with"
accelerator=$(tools/demo/kvm.sh)
[ "$accelerator" = kvm ] && note "hardware virtualization works" || true

say "building the machine room: $nodes nodes with an address, a bridge and a libvirtd of their own"
tools/demo/room.sh "$base" "$nodes"
subnet=$(cat "$base/subnet")
for n in $(seq "$nodes"); do
    lay_out "$n" "$subnet" "$subnet.100" "$nodes"
    note "node$n: $subnet.$n, its files in $base/node$n"
done
write_env "$subnet.1"

hv="kvm_path=$(command -v qemu-system-x86_64),kernel_path=$PWD/.cache/guest/vmlinuz,initrd_path=$PWD/.cache/guest/initrd,root_path=/dev/vda"
[ "$accelerator" = kvm ] || hv+=",kvm_flag=disabled"

say "a cluster of one node, then of three"
show node1 gnt-cluster init --enabled-hypervisors kvm --master-netdev br0 --nic-parameters link=br0 \
    --shared-file-storage-dir "$base/shared" \
    --hypervisor-parameters "kvm:$hv" --no-ssh-init --no-etc-hosts demo
rapi_user
for n in $(seq 2 "$nodes"); do join "node$n"; done
show node1 gnt-node list

say "a virtual machine: a disk that the nodes share, a system on it, started on node1"
show node1 gnt-instance add -o busybox --disk 0:size=1g -t sharedfile -n node1 web1
show node1 gnt-instance list
greeting 60

say "moving it to node2 while it runs, and back"
show node1 gnt-instance migrate -f -n node2 web1
show node1 gnt-instance list
greeting 60
show node1 gnt-instance migrate -f -n node1 web1
show node1 gnt-instance list
show node1 gnt-job list

say "the same through the remote API, from this host"
printf '\n%s$%s curl -sK .demo/curl %s/2/instances/web1 | python3 -m json.tool\n' "$SAY_ON" "$SAY_OFF" "https://$subnet.1:5080"
answer=$(curl --silent --show-error --fail -K .demo/curl "https://$subnet.1:5080/2/instances/web1") ||
    die "the remote API does not answer" "its log: $base/node1/var/log/ganeti/rapi-daemon.log"
.venv/bin/python -m json.tool <<<"$answer" | sed -n 1,12p
echo "    ..."

say "done in $((SECONDS - began)) seconds; everything goes on running. To look around:"
note ". .demo/env                     the gnt-* commands in this shell"
note "gnt-instance list; gnt-instance info web1; gnt-node list; gnt-job list; gnt-cluster verify"
note "gnt-instance console web1       Enter for a shell in the guest, Ctrl-] to leave"
note "gnt-instance shutdown web1; gnt-instance startup web1"
note "ssh node2                       a shell on a node (enters its namespaces)"
note "curl -sK .demo/curl \$GNT_RAPI/2/info"
note "make demo-stop                  ends it all and leaves nothing"
