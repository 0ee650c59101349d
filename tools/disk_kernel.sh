#!/bin/bash
# disk_kernel.sh: make .cache/disk-kernel: vmlinuz, initrd and lib/modules of an ordinary kernel with DRBD, for the
# emulated machines of tests/real_disks. Debian's package is only unpacked, nothing is installed. Fails in words.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh

# In the order in which they are loaded: what is needed to see disk, networks and the host's files.
MODULES="virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover
    virtio_net virtio_console netfs fscache 9pnet 9pnet_virtio 9p"

target=.cache/disk-kernel
recipe=$(sha256sum <tools/disk_kernel.sh)
if [ -e "$target/recipe" ] && [ "$(cat "$target/recipe")" = "$recipe" ]; then
    exit 0
fi
for program in apt-cache apt-get dpkg-deb cpio gzip depmod busybox; do
    PATH=$PATH:/usr/sbin:/sbin has "$program" || { warn "no kernel: the program $program is missing"; exit 1; }
done
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
[ -n "$kernel" ] || { warn "no kernel: apt knows no package linux-image-amd64 (apt-get update?)"; exit 1; }

mkdir -p .cache
work=$(mktemp -d .cache/disk-kernel.XXXXXX)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
say "fetching a kernel with DRBD: $kernel (unpacked, not installed)"
if ! (cd "$work" && apt-get -q download "$kernel") >.cache/disk-kernel.log 2>&1 </dev/null; then
    warn "the package $kernel could not be fetched (all of it in .cache/disk-kernel.log)"
    exit 1
fi
dpkg-deb -x "$work"/linux-image-*.deb "$work/tree"
version=$(ls "$work/tree/lib/modules")
PATH=$PATH:/usr/sbin:/sbin depmod -b "$work/tree" "$version"

mkdir -p "$work/root"/{bin,dev,proc,sys,host,modules}
cp "$(command -v busybox)" "$work/root/bin/busybox"
for module in $MODULES; do
    file=$(find "$work/tree" -name "$module.ko" -print -quit)
    [ -n "$file" ] || continue # built into this kernel
    cp "$file" "$work/root/modules/"
    echo "$module" >>"$work/root/modules/order"
done
cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
# The host's files become the root; what is there begins the node.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
while read -r module; do /bin/busybox insmod /modules/$module.ko; done </modules/order
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /host ||
    { echo "the host's files cannot be mounted"; /bin/busybox poweroff -f; }
for word in $(/bin/busybox cat /proc/cmdline); do case $word in init=*) init=${word#init=} ;; esac; done
/bin/busybox umount /proc
/bin/busybox umount /dev
exec /bin/busybox switch_root /host "$init"
INIT
chmod 755 "$work/root/init"
(cd "$work/root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

rm -rf "$target"
mkdir -p "$target/lib"
mv "$work/initrd" "$target/initrd"
mv "$work/tree/boot/vmlinuz-$version" "$target/vmlinuz"
mv "$work/tree/lib/modules" "$target/lib/modules"
printf '%s\n' "$recipe" >"$target/recipe"
