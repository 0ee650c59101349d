#!/bin/bash
# lint.sh: everything that can be said about the code without running it. Runs all checks, fails if one fails.
# They run at the same time; what each says is shown when it has ended, in the order of this page.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh
bin=.venv/bin
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
commands=()
processes=()

check() {
    "$@" >"$said/${#commands[@]}" 2>&1 </dev/null &
    processes+=($!)
    commands+=("$*")
}

types() { # one after the other: the second uses what the first has found out
    $bin/mypy --strict && $bin/mypy --strict --explicit-package-bases tools
}

scripts() {
    local script failed=0
    for script in tools/*.sh tools/demo/*.sh .ci/run os/busybox/{create,import,export,rename,verify}; do
        bash -n "$script" || failed=1
    done
    return $failed
}

check types
check $bin/python -m pytest --collect-only -qq
check $bin/ruff check .
check $bin/ruff format --check .
check $bin/lint-imports
check scripts

failed=0
for number in "${!commands[@]}"; do
    say "${commands[number]}"
    if wait "${processes[number]}"; then
        tail -n 1 "$said/$number"
    else
        cat "$said/$number"
        failed=1
    fi
done
[ $failed = 0 ] && say "lint: all clean"
exit $failed
