#!/bin/bash
# setup.sh WHAT...: make ready what is missing. Each part costs nothing when it is there already.
#   venv      .venv with the pinned dependencies, gnt itself installed editable
#   packages  Debian packages of the demo: libvirt, QEMU, ... (root; otherwise says what that costs)
#   tests     Debian packages that only tests use: guest OS definitions, schema checker
#   ceph      Debian packages for tests/real_ceph (70 MB to download, so only when asked for)
#   disk-kernel  .cache/disk-kernel: an ordinary kernel for emulated machines with real disks (70 MB, when asked for)
#   guest     .cache/guest: kernel and initrd of the small guest
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh

DEMO_PACKAGES="libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients python3-libvirt qemu-system-x86 qemu-utils
    busybox-static cpio e2fsprogs iproute2 procps curl util-linux"
TEST_PACKAGES="mandoc ganeti-os-noop ganeti-instance-debootstrap libxml2-utils openssl openssh-client
    python3-ganeti-rapi ganeti-htools"
# Machines with real disks, for tests/real_disks: a kernel that runs as a process, with LVM and DRBD.
DISK_PACKAGES="user-mode-linux drbd-utils lvm2 thin-provisioning-tools kmod busybox-static iproute2 util-linux"
# A Ceph cluster of one node, for tests/real_ceph, and QEMU's own way to its images.
CEPH_PACKAGES="ceph-mon ceph-osd ceph-common qemu-block-extra qemu-utils util-linux"

# Debian's own gnt-* commands, which tests use at our sockets. Only their files: installed, they would bring an SSH
# server, lvm2 and more along.
CLIENT_PACKAGES="ganeti-3.0 python3-bitarray python3-simplejson python3-pyparsing python3-pycurl python3-pyinotify
    python3-openssl python3-paramiko"

# missing PACKAGE...: print those that are not installed.
missing() {
    local package
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
    done
}

# install PACKAGE...: false when something cannot be had; says why.
install() {
    local want log
    want=$(missing "$@")
    [ -n "$want" ] || return 0
    if ! has apt-get; then
        warn "this is no Debian system; install by its own means: $want"
        return 1
    fi
    if ! is_root; then
        warn "not root, so these packages cannot be installed: $want"
        note "remedy: sudo apt-get install --no-install-recommends $want"
        return 1
    fi
    mkdir -p .cache
    log=.cache/apt.log
    say "installing Debian packages: $want"
    if ! apt_install "$log" $want; then
        note "the package lists may be old: apt-get update"
        if ! { DEBIAN_FRONTEND=noninteractive apt-get -q update && apt_install "$log" $want; } >>"$log" 2>&1 </dev/null; then
            grep -E '^(E|W):' "$log" | tail -n 3 >&2 || true
            warn "could not install: $want (all of it in $log)"
            return 1
        fi
    fi
}

# apt_install LOG PACKAGE...: never asks, never starts a service that was not there before.
apt_install() {
    local log=$1
    shift
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" >"$log" 2>&1 </dev/null
}

# The first Python that is new enough. Debian's own comes first: only that one sees Debian's python3-libvirt.
find_python() {
    local python
    for python in ${PYTHON:-} /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        if "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return 0
        fi
    done
    return 1
}

setup_venv() {
    local python stamp
    python=$(find_python) || die "gnt needs Python 3.11 or newer and found none" "Debian 12: apt-get install python3"
    stamp=$("$python" -V && cat requirements.txt requirements-dev.txt pyproject.toml setup.py && pwd)
    stamp=$(sha256sum <<<"$stamp")
    if [ -e .venv/stamp ] && [ "$(cat .venv/stamp)" = "$stamp" ]; then
        return 0
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install python3-venv || die "$python cannot make virtual environments" "apt-get install python3-venv"
    fi
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
        say "making the virtual environment .venv with $python (it sees the system's packages, for python3-libvirt)"
        "$python" -m venv --system-site-packages .venv || die "could not make .venv" "remove .venv and try again"
    fi
    say "installing the pinned Python dependencies into .venv"
    mkdir -p .cache
    if ! .venv/bin/python -m pip install --no-input --disable-pip-version-check -q \
        -r requirements.txt -r requirements-dev.txt >.cache/pip.log 2>&1 </dev/null; then
        tail -n 5 .cache/pip.log >&2
        die "could not install the Python dependencies (all of it in .cache/pip.log)" \
            "the package index must be reachable: network, proxy, or a mirror in pip's own configuration"
    fi
    say "installing gnt itself, editable"
    if ! .venv/bin/python -m pip install --no-input --disable-pip-version-check -q \
        --no-deps --no-build-isolation --editable . >.cache/pip.log 2>&1 </dev/null; then
        tail -n 5 .cache/pip.log >&2
        die "could not install gnt into .venv (all of it in .cache/pip.log)"
    fi
    # Twisted keeps a cache of the plugins that it found; refreshed here, so that no daemon has to write it.
    .venv/bin/twistd --help >/dev/null 2>.cache/twistd.log || warn "twistd does not start: see .cache/twistd.log"
    printf '%s\n' "$stamp" >.venv/stamp
}

# libvirt's QEMU driver does not start on a machine without this user. Debian makes it when the service is installed
# (libvirt-daemon-system); we install the programs without the service, so we make the same user with the same number.
setup_qemu_user() {
    getent passwd libvirt-qemu >/dev/null && return 0
    is_root || return 0
    say "adding the system user libvirt-qemu, as Debian's libvirt-daemon-system does"
    getent group kvm >/dev/null || groupadd --system kvm
    getent group libvirt-qemu >/dev/null || groupadd --gid 64055 libvirt-qemu
    useradd --system --uid 64055 --gid kvm --groups libvirt-qemu --home-dir /var/lib/libvirt --no-create-home \
        --shell /usr/sbin/nologin --comment "Libvirt Qemu" libvirt-qemu 2>/dev/null
}

setup_packages() {
    # shellcheck disable=SC2086
    if install $DEMO_PACKAGES; then
        setup_qemu_user
    else
        note "cost: no real guests here; make cluster and the tests without guests work all the same"
    fi
}

setup_tests() {
    # shellcheck disable=SC2086
    install $TEST_PACKAGES || note "cost: the tests that use them are skipped, by name"
    # shellcheck disable=SC2086
    install $DISK_PACKAGES || note "cost: the tests on real volumes and mirrors are skipped, by name"
    setup_client || note "cost: the tests with Debian's gnt-* commands are skipped, by name"
}

setup_ceph() {
    # shellcheck disable=SC2086
    install $CEPH_PACKAGES || note "cost: the tests on a real Ceph cluster are skipped, by name"
}

# The files of CLIENT_PACKAGES in .cache/client; false when they cannot be had.
setup_client() {
    [ ! -d .cache/client ] || return 0
    has apt-get && has dpkg-deb || return 1
    rm -rf .cache/client.new
    mkdir -p .cache/client.new
    # shellcheck disable=SC2086
    if ! (cd .cache/client.new && apt-get -q download $CLIENT_PACKAGES) >.cache/client.log 2>&1 </dev/null; then
        warn "could not download: $CLIENT_PACKAGES (all of it in .cache/client.log)"
        return 1
    fi
    local package
    for package in .cache/client.new/*.deb; do
        dpkg-deb -x "$package" .cache/client.new || return 1
        rm "$package"
    done
    mv .cache/client.new .cache/client
}

setup_disk_kernel() {
    tools/disk_kernel.sh || note "cost: the tests with emulated machines are skipped, by name"
}

setup_guest() {
    tools/demo/guest.sh || note "cost: no real guests here; make cluster and the tests without guests work all the same"
}

for part in "${@:-venv}"; do
    case $part in
    venv | packages | tests | ceph | guest) "setup_$part" ;;
    disk-kernel) setup_disk_kernel ;;
    *) die "setup.sh knows no part $part" "parts: venv packages tests ceph disk-kernel guest" ;;
    esac
done
