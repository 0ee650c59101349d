#!/bin/bash
# kvm.sh: say "kvm" or "tcg": what guests can run with here. A /dev/kvm that exists may still run no guest (a virtual machine without
# nested virtualization, for example), so the small guest's kernel is booted under it, with a time limit.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tools/say.sh

unusable() {
    note "hardware virtualization: $1" >&2
    note "guests run under TCG, QEMU's own emulation: everything works, only slower (a small guest boots in 5 s)" >&2
    echo tcg
    exit 0
}

[ -e /dev/kvm ] || unusable "this machine has no /dev/kvm"
[ -r /dev/kvm ] && [ -w /dev/kvm ] || unusable "/dev/kvm may not be used by $(id -un) (group kvm)"
said=$(timeout 10 qemu-system-x86_64 -accel kvm -cpu host -m 128 -nodefaults -no-user-config -no-reboot -display none \
    -serial stdio -kernel .cache/guest/vmlinuz -initrd .cache/guest/initrd \
    -append "console=ttyS0 quiet gnt.check" 2>&1 </dev/null | tr -d '\0' || true)
case $said in
*"a guest runs here"*) echo kvm ;;
*) unusable "/dev/kvm is there, but a guest does not run with it (${said:+$(head -n 1 <<<"$said")})" ;;
esac
