# shellcheck shell=bash
# Sourced by demo.sh and cluster.sh: where their files go, the environment for people, and commands that are shown as they run.

# begin: end what ran here before; set base (short: socket paths have a limit) and note it in .demo.
begin() {
    [ ! -e .demo ] || tools/demo/stop.sh
    mkdir -m 700 .demo
    base=$PWD/.demo
    # The longest socket is NODE_TREE/var/run/ganeti/socket/ganeti-master; hypervisors put longer names beside it. sockaddr_un has 107 bytes.
    if [ ${#base} -gt 45 ]; then
        base=$(mktemp -d /tmp/gnt.XXXXXX)
        say "this checkout's path is too long for UNIX sockets (107 bytes): the nodes' trees are in $base"
    fi
    echo "$base" >.demo/base
}

# lay_out N ADDRESS_PREFIX CLUSTER_ADDRESS NODES: the tree of node N as an administrator prepares it before gnt-cluster init.
lay_out() {
    local root=$base/node$1 i
    mkdir -p "$root"/{etc/ganeti,srv/ganeti/os,var/lib/ganeti,var/log/ganeti,var/run/ganeti}
    {
        echo "127.0.0.1 localhost"
        for i in $(seq "$4"); do echo "$2.$i node$i"; done
        echo "$3 demo"
    } >"$root/etc/hosts"
    cp -r os/busybox "$root/srv/ganeti/os/"
}

# write_env RAPI_ADDRESS: what makes any shell of this host the master's shell.
write_env() {
    local password
    mkdir -p .demo/bin
    ln -sf "$PWD/tools/demo/ssh.sh" .demo/bin/ssh
    password=$(.venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(18))')
    (
        umask 077
        printf '%s\n' "$password" >.demo/rapi-password
        printf 'user = "demo:%s"\ncacert = "%s"\n' "$password" "$base/node1/var/lib/ganeti/ca.pem" >.demo/curl
    )
    .venv/bin/python -m gnt.cli.manual .demo/man >/dev/null
    cat >.demo/env <<EOF
# Source this: the gnt-* commands then speak to the demo's master from any shell of this host.
export GNT_ROOTDIR='$base/node1'
export GNT_HOSTNAME=node1
export GNT_RAPI='https://$1:5080'
export GNT_RAPI_USER=demo
export GNT_RAPI_PASSWORD_FILE='$PWD/.demo/rapi-password'
case ":\${PATH:-}:" in
*":$PWD/.demo/bin:"*) ;;
*) export PATH='$PWD/.demo/bin:$PWD/.venv/bin'"\${PATH:+:\$PATH}" ;;
esac
case ":\${MANPATH-}:" in
*":$PWD/.demo/man:"*) ;;
*) export MANPATH='$PWD/.demo/man'":\${MANPATH-}" ;;
esac
if [ -n "\${BASH_VERSION-}" ]; then case \$- in *i*) . '$PWD/packaging/completion/gnt.bash' ;; esac; fi
EOF
}

# rapi_user: let the user "demo" of .demo/env write; the file is the administrator's, the daemon notices that it changed.
rapi_user() {
    local users=$base/node1/var/lib/ganeti/rapi/users
    mkdir -p "$(dirname "$users")"
    (umask 077 && printf 'demo %s write\n' "$(cat .demo/rapi-password)" >"$users")
}

# shown NODE COMMAND...: print a command as it is typed on a node.
shown() {
    local node=$1
    shift
    printf '\n%s%s#%s' "$SAY_ON" "$node" "$SAY_OFF"
    printf ' %s' "${@@Q}" | sed "s/'\([A-Za-z0-9_.,:=/+@%-]*\)'/\1/g"
    printf '\n'
}

# failed NODE COMMAND...: end in words.
failed() {
    local node=$1
    shift
    die "this command failed: $*" "its daemons' logs: $base/$node/var/log/ganeti; to clear up: make demo-stop"
}

# show NODE COMMAND...: print a command, then run it there.
show() {
    shown "$@"
    on "$@" || failed "$@"
}

# join NODE: take a node in with a one-time token, typed on node1 and given to the new node, as one does without SSH.
join() {
    local node=$1 said=.demo/add.txt token add
    shown node1 gnt-node add --token "$node"
    (umask 077 && : >$said && : >.demo/token)
    on node1 gnt-node add --token "$node" >.demo/token 2>$said &
    add=$!
    until [ -s .demo/token ]; do
        running $add || { cat $said >&2; failed node1 gnt-node add --token "$node"; }
        sleep 0.05
    done
    token=$(cat .demo/token)
    cat $said
    printf '%s...\n' "${token:0:24}"
    shown "$node" gnt-node join
    on "$node" gnt-node join <.demo/token || failed "$node" gnt-node join
    wait $add || { cat $said >&2; failed node1 gnt-node add --token "$node"; }
    rm -f .demo/token $said
}
