#!/bin/sh
# Stands before a program of LVM or DRBD in a machine, where a test wants to cut the power at a certain command:
# /run/hold has a number and a pattern; the command that is the so-manieth to match is not run but held for ever.
name=${0##*/}
if read -r number pattern 2>/dev/null </run/hold; then
    # shellcheck disable=SC2254
    case "$name $*" in
    $pattern)
        # Two may come at once: each has the place of its own line.
        echo "$$ $name $*" >>/run/matched
        if [ "$(grep -n "^$$ " /run/matched | cut -d: -f1)" -eq "$number" ]; then
            # Where whoever waits for it looks from outside, without a program in here.
            echo "$name $*" >"$(cat /run/held-at)"
            exec sleep 100000
        fi
        ;;
    esac
fi
exec "/usr/sbin/$name" "$@"
