#!/bin/sh
# Stands before a program of LVM or DRBD in a machine, where a test wants to cut the power at a certain command: the
# commands that change something are counted, and the one with the number in /run/hold is not run but held for ever.
name=${0##*/}
case "$name $*" in
"drbdsetup show"* | "drbdsetup get-gi"* | *" get-gi" | lvs* | pvs* | vgs*) ;;
*)
    if [ -e /run/hold ]; then
        echo "$name $*" >>/run/commands
        if [ "$(wc -l </run/commands)" -eq "$(cat /run/hold)" ]; then
            echo "$name $*" >/run/held
            exec sleep 100000
        fi
    fi
    ;;
esac
exec "/usr/sbin/$name" "$@"
