#!/bin/bash
# ssh.sh: stands in for ssh in the demo's environment (.demo/bin/ssh): no node there runs an SSH daemon, but this host can enter
# their namespaces. "ssh [options] [user@]nodeN [command]" runs the command on nodeN; any other host goes to the real ssh.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
real=$(PATH=$(tr ':' '\n' <<<"$PATH" | grep -v '/\.demo/bin$' | paste -sd:) command -v ssh || true)
all=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    -[bcDEeFIiJLlmOopQRSWw]) shift 2 || break ;;
    -*) shift ;;
    *) break ;;
    esac
done
host=${1:-}
host=${host#*@}
if [[ $host =~ ^node[0-9]+$ ]]; then
    shift
    # As over the network, the words of the command become one line for a shell there.
    [ $# -eq 0 ] || set -- sh -c "$*"
    exec "$here/enter.sh" "$host" "$@"
fi
[ -n "$real" ] || { echo "ssh: this stand-in of the demo knows only its nodes, and no ssh is installed" >&2; exit 255; }
exec "$real" "${all[@]}"
