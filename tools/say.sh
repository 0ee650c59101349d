# shellcheck shell=bash
# Sourced by the other scripts: how they speak, and a few questions that they all ask.

# What the project is doing, for whoever watches. Never colour in a file or a pipe.
if [ -t 1 ]; then SAY_ON=$'\e[1;34m' SAY_OFF=$'\e[0m'; else SAY_ON='' SAY_OFF=''; fi

say() { printf '\n%s==>%s %s\n' "$SAY_ON" "$SAY_OFF" "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die TEXT [REMEDY]: one clear line, one line that says what to do.
die() {
    printf 'Failure: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# running PID: whether a process lives (and is no zombie).
running() { [ -n "${1:-}" ] && [ -r "/proc/$1/stat" ] && ! grep -q '^State:[[:space:]]Z' "/proc/$1/status" 2>/dev/null; }

# started PID: when the process began, in clock ticks since boot; tells a reused number from the process that was meant.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
