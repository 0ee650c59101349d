#!/bin/bash
# guest.sh: make .cache/guest/vmlinuz and .cache/guest/initrd, what a small guest is booted with.
# The kernel is Debian's for clouds; only its package is unpacked, nothing is installed. Fails in words.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tools/say.sh

# In the order in which they are loaded: each needs only those before it.
MODULES="button evdev failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
    virtio_blk virtio_net virtio_balloon crc16 crc32c_generic libcrc32c mbcache jbd2 ext4"

guest=$PWD/.cache/guest
recipe=$(cat tools/demo/guest.sh tools/demo/guest-init | sha256sum)
if [ -e "$guest/recipe" ] && [ "$(cat "$guest/recipe")" = "$recipe" ]; then
    exit 0
fi

busybox=$(command -v busybox || true)
for program in apt-cache apt-get dpkg-deb cpio gzip; do
    has "$program" || { warn "no guest: the program $program is missing"; exit 1; }
done
[ -n "$busybox" ] || { warn "no guest: busybox is missing (package busybox-static)"; exit 1; }
if ldd "$busybox" >/dev/null 2>&1; then
    warn "no guest: $busybox is not static (install busybox-static)"
    exit 1
fi

mkdir -p "$guest"
work=$(mktemp -d .cache/guest.XXXXXX)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt's own user writes nothing here, but may look

kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
if [ -z "$kernel" ] && is_root; then
    apt-get -q update >/dev/null 2>&1 </dev/null || true
    kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
fi
[ -n "$kernel" ] || { warn "no guest: apt knows no package linux-image-cloud-amd64 (apt-get update?)"; exit 1; }
say "fetching the guest's kernel: $kernel (unpacked, not installed)"
if ! (cd "$work" && apt-get -q download "$kernel") >"$work/log" 2>&1 </dev/null &&
    ! { is_root && apt-get -q update && cd "$work" && apt-get -q download "$kernel"; } >"$work/log" 2>&1 </dev/null; then
    grep '^E:' "$work/log" | tail -n 2 >&2 || true
    warn "no guest: the package $kernel could not be fetched"
    exit 1
fi
dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"

say "building the guest's initrd"
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,new,lib/modules}
cp "$busybox" "$root/bin/busybox"
cp tools/demo/guest-init "$root/init"
chmod 755 "$root/init" "$root/bin/busybox"
for module in $MODULES; do
    file=$(find "$work/kernel" -name "$module.ko" -print -quit)
    [ -n "$file" ] || continue # built into this kernel
    cp "$file" "$root/lib/modules/"
    echo "$module" >>"$root/lib/modules/order"
done
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

cp "$work"/kernel/boot/vmlinuz-* "$guest/vmlinuz"
cp "$work/initrd" "$guest/initrd"
chmod 644 "$guest/vmlinuz" "$guest/initrd"
echo "$recipe" >"$guest/recipe"
