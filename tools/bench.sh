#!/bin/bash
# bench.sh: run every measurement of bench/, one after the other (two at a time would measure each other).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh
found=0
for bench in bench/bench_*.py; do
    [ -e "$bench" ] || continue
    found=1
    say "$bench"
    .venv/bin/python "$bench" </dev/null
done
[ $found = 1 ] || say "bench/ has no measurement yet"
