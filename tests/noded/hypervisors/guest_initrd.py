"""The test guest's first program, laid over the initrd that `make guest` builds.

It says `hello`, then `tick N` each second on its serial port, does what is typed there, and obeys its power button.
"""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /sbin /usr/bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/lib/modules/$module.ko"; done </lib/modules/order 2>/dev/null
echo "hello disks=$(ls /sys/block | tr '\\n' ' ') nics=$(ls /sys/class/net | tr '\\n' ' ')"
# The power button gives an input event of type 1 and code 116; an event has 24 bytes.
for event in /dev/input/event*; do
    grep -q Power "/sys/class/input/${event##*/}/device/name" 2>/dev/null || continue
    (
        exec 3<"$event"
        while set -- $(dd bs=24 count=1 <&3 2>/dev/null | od -An -v -tu2) && [ $# != 0 ]; do
            [ "${10}" = 116 ] && poweroff -f
        done
    ) &
done
n=0
while :; do n=$((n + 1)); echo "tick $n"; sleep 1; done &
while :; do while read -r line; do eval "$line"; done </dev/ttyS0 >/dev/ttyS0 2>&1; done
"""


def write_initrd(base: Path, target: Path) -> None:
    """Write the initrd at `base` with our own first program: of two archives after each other the last one wins."""
    archive = _member("init", INIT.encode(), stat.S_IFREG | 0o755) + _member("TRAILER!!!", b"", 0)
    target.write_bytes(base.read_bytes() + gzip.compress(archive, mtime=0))


def _member(name: str, content: bytes, mode: int) -> bytes:
    """Give one member of a cpio archive in the form `newc`: a header of thirteen numbers, name, content."""
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % number for number in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
