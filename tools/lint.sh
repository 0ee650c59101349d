#!/bin/bash
# lint.sh: everything that can be said about the code without running it. Runs all checks, fails if one fails.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh
bin=.venv/bin
failed=0

check() {
    say "$*"
    "$@" </dev/null || failed=1
}

check $bin/ruff check .
check $bin/ruff format --check .
check $bin/mypy --strict
check $bin/mypy --strict --explicit-package-bases tools
check $bin/lint-imports
for script in tools/*.sh tools/demo/*.sh .ci/run os/busybox/{create,import,export,rename,verify}; do
    bash -n "$script" || failed=1
done
[ $failed = 0 ] && say "lint: all clean"
exit $failed
