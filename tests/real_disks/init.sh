#!/bin/bash
# PID 1 of a node. Its root is the host's own, read only (by hostfs under user-mode-linux, by 9p in an emulated
# machine); what it writes to is its own.
# Kernel arguments: node=NAME work=DIR (the only part of the host that can be written) mods=DIR (with lib/modules)
# python=PROGRAM agent=SCRIPT line=DEVICE (to which the agent listens)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
# Not the set-uid programs: whoever is not root sees them owned by nobody.
mount() { /bin/busybox mount "$@"; }

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
# shellcheck disable=SC2013
for word in $(cat /proc/cmdline); do
    case $word in
    node=* | work=* | mods=* | python=* | agent=* | line=*) declare "${word%%=*}=${word#*=}" ;;
    esac
done
# work may lie below /tmp, which becomes the node's own: it is mounted elsewhere first. So may what is being tested.
checkout=${agent%/tests/real_disks/*}
mount -t tmpfs run /run
mkdir -p /run/lock /run/lvm /run/work /run/bind /run/checkout
mount --bind "$checkout" /run/checkout
if grep -qw hostfs /proc/filesystems; then
    mount -t hostfs -o "$work" none /run/work
else
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap work /run/work
fi
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /var/lib/drbd /var/log /tmp /etc/lvm /dev/shm; do
    [ -d $directory ] && mount -t tmpfs own $directory
done
mkdir -p "$work" "$checkout"
mount --bind /run/work "$work"
mount --bind /run/checkout "$checkout"
cat >/etc/lvm/lvm.conf <<'CONF'
devices {
    types = [ "ubd", 16, "drbd", 16 ]
    filter = [ "a|^/dev/ubd|", "a|^/dev/vd|", "r|.*|" ]
    scan_lvs = 0
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
    use_devicesfile = 0
}
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 locking_dir = "/run/lock/lvm" }
backup { backup = 0 archive = 0 }
CONF
echo "$work/$node.held" >/run/held-at
# Here stands what is to hold a program up, where a test wants that.
mount -t tmpfs programs /usr/local/sbin
hostname "$node"
ip link set lo up
# The kernel finds no modprobe here, so all that is needed is loaded now; hmac and md5 are for the peers' secret.
for module in hmac md5 crc32c dm-mod dm-snapshot dm-thin-pool loop; do
    modprobe -d "$mods" $module
done
modprobe -d "$mods" drbd minor_count=16 usermode_helper=/bin/true
"$python" -I -S "$agent" "$line" &
# bash gathers every process that is left to it, as PID 1 must.
wait $!
sync
/bin/busybox poweroff -f
