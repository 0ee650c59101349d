#!/bin/bash
# node.sh BASE N NODES SUBNET: first process of one node of the machine room (see room.sh). Makes what on a real machine the
# administrator and the distribution have made: addresses, names, a bridge, a libvirtd; then stays, and ends with the node.
# It is PID 1 here because libvirtd must not be: a libvirtd that is PID 1 does not reap what it leaves behind.
set -euo pipefail
base=$1 n=$2 nodes=$3 subnet=$4
here=$(dirname "$(readlink -f "$0")")
root=$base/node$n
pki=$root/etc/ganeti/pki

hostname "node$n"
mkdir -p "$root"/{run/libvirt,log,etc/ganeti,srv/ganeti} "$root"/libvirt/{lib,log,cache}

# Without an own /sys the node would see the host's network interfaces there.
mount -t sysfs sysfs /sys

# /etc is a copy, so that names, libvirt's settings and certificates are this node's own; /run is empty.
mkdir -p "$root/private"
mount -t tmpfs -o mode=755 private "$root/private"
cp -a /etc "$root/private/etc"
mkdir -p "$root/private/run" /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
mount --bind "$root/private/etc" /etc
mount --bind "$root/private/run" /run
mkdir -p /run/libvirt /run/lock
mount --bind "$root/run/libvirt" /run/libvirt
mount --bind "$root/libvirt/lib" /var/lib/libvirt
mount --bind "$root/libvirt/log" /var/log/libvirt
mount --bind "$root/libvirt/cache" /var/cache/libvirt
# The same place on each node, as on machines that share a file system.
mkdir -p "$base/shared" "$root/srv/ganeti/shared-file-storage"
mount --bind "$base/shared" "$root/srv/ganeti/shared-file-storage"

echo "node$n" >/etc/hostname
{
    echo "127.0.0.1 localhost"
    for i in $(seq "$nodes"); do echo "$subnet.$i node$i"; done
    echo "$subnet.100 demo"
} >/etc/hosts

# libvirtd: TLS only, with the node's certificate; guests migrate under TLS or not at all.
mkdir -p /etc/libvirt /etc/pki/CA /etc/pki/libvirt/private
ln -sfn "$pki/cacert.pem" /etc/pki/CA/cacert.pem
ln -sfn "$pki/servercert.pem" /etc/pki/libvirt/servercert.pem
ln -sfn "$pki/serverkey.pem" /etc/pki/libvirt/private/serverkey.pem
cat >/etc/libvirt/libvirtd.conf <<C
listen_tls = 1
listen_tcp = 0
listen_addr = "$subnet.$n"
auth_tls = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
log_outputs = "3:file:$root/log/libvirtd.log"
C
cat >/etc/libvirt/qemu.conf <<C
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
migration_host = "$subnet.$n"
migration_address = "$subnet.$n"
migrate_tls_x509_cert_dir = "$pki"
migrate_tls_x509_verify = 1
migrate_tls_force = 1
C
# Until gnt-cluster init or gnt-node add has made this node's certificate: one that nobody trusts.
if [ ! -e "$pki/servercert.pem" ]; then
    PYTHONPATH="$here/../.." "$here/../../.venv/bin/python" "$here/blank_certificate.py" "$pki"
fi

ip link set lo up
touch "$root/waits"
until [ -e "$root/cable" ]; do sleep 0.02; done
ip link add br0 type bridge forward_delay 0
ip link set eth0 master br0 up
ip address add "$subnet.$n/24" dev br0
ip link set br0 up

serve() {
    while :; do
        libvirtd --listen --pid-file /run/libvirtd.pid >>"$root/log/libvirtd.out" 2>&1 || true
        sleep 0.5
    done
}

# The node daemon puts the cluster's certificates into $pki, servercert.pem last. A running libvirtd takes them
# over on request; nothing is restarted, no connection ends. (systemd machines: packaging/systemd/gnt-libvirt-tls.path.)
follow() {
    local old new
    old=$(stat -c %Y.%i "$pki/servercert.pem")
    while :; do
        sleep 0.2
        new=$(stat -c %Y.%i "$pki/servercert.pem" 2>/dev/null) || continue
        [ "$new" != "$old" ] || continue
        if virt-admin -q -c libvirtd:///system server-update-tls libvirtd; then
            old=$new
            touch "$root/run/libvirt/tls-ready"
        fi
    done
}

trap 'exit 0' TERM
serve &
follow &
while :; do wait -n 2>/dev/null || sleep 1; done
