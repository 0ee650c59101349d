#!/bin/bash
# bench.sh: run every measurement of bench/, one after the other (two at a time would measure each other).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. tools/say.sh
say "this machine"
note "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores, $(uname -sr), $(.venv/bin/python -V)"
note "$(.venv/bin/python - <<'PY'
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, ".")
from bench.commit import fsync_rate

with tempfile.TemporaryDirectory(dir=".cache") as directory:
    print(f"{fsync_rate(Path(directory), 1.0):.0f} fsync/s of 4 KiB, here; every durable change waits for one")
PY
)"
for bench in bench/[a-z]*.py; do
    name=$(basename "$bench" .py)
    say "$bench: $(sed -n '1s/^"""//; 1s/"""$//; 1p' "$bench")"
    .venv/bin/python -m "bench.$name" </dev/null | sed 's/^/    /'
done
