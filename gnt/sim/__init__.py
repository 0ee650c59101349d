"""A whole cluster in one process on a false clock: the real masterd, the real noded, everything under them false.

What there is, from the ground up:

* `clock`, `runtime`: time that jumps to the next event, blocking work inline at its moment. `machine`, `lives`,
  `providers`, `disk`: machines with daemons, guests in memory, databases that can be cut and torn. `door`, `ways`: the
  network and a witness in it. `world`: all of that, one seed, and the trace of what happened.
* `faults`: what falls at a point (`Kind`, where it may fall; `Fault`, what; `FAULTS`, which at which). `mishaps`: what
  befalls machines for a while, a table (`befalls`).
* `client`, `setup`: asking as LUXI does; init, join, failover, backup and restore by the real programs.
* `checkers`: what must hold, one module for each kind of thing; the invariants by number are in its docstring.

Two ways to use it:

* *Stories* (`story`, `telling`; files in `tests/scenarios`): steps one after the other, told once (`run`), with one
  fault (`run --strike "commit 7: master dies after"`), or with each fault at each point in turn (`exhaust`; `alike` and
  `rests` say what comes to the same and is told once: `docs/decisions/what-is-told-once.md`). A story
  is a text file whose verbs are a table (`@verb` in `telling`, listed by `verbs`); `goals` says when a job has come
  about.
* *Runs by chance* (`seeds`, `administrator`, `operations`): a hundred operations drawn from the table of what clients
  do (`@does`), twenty faults and more among them.

    python -m gnt.sim verbs | run STORY | exhaust [STORY…] | seed N | seeds COUNT

each say what went wrong as lines with WRONG, and end with status 1 if anything did. To have a new operation tried:
enter it in `operations`; to have a new thing looked after: a checker. To try a fault in the code itself: `make mutants`
runs these commands on a copy of the code.
"""
