#!/bin/bash
# bench.sh [--short]: the figures beside their goals, then every measurement of bench/, one after the other (two at a time would measure each other).
# --short: the figures only, of small sizes and in one run: a few minutes.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh
mkdir -p .cache
say "this machine"
note "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores, $(uname -sr), $(.venv/bin/python -V)"
say "bench/figures: $(sed -n '1s/^"""//; 1s/"""$//; 1p' bench/figures/__init__.py)"
.venv/bin/python -m bench.figures "$@" </dev/null | sed 's/^/    /'
[ $# = 0 ] || exit 0
for bench in bench/[a-z]*.py; do
    name=$(basename "$bench" .py)
    say "$bench: $(sed -n '1s/^"""//; 1s/"""$//; 1p' "$bench")"
    .venv/bin/python -m "bench.$name" </dev/null | sed 's/^/    /'
done
