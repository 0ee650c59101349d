"""What it costs on this machine to wake who sleeps: the least that lies between two daemons, or two threads, that talk.

A submission is five of these one behind the other: the client's request wakes the master's reactor, that the thread
that writes, the disk that thread, the thread the reactor, the reactor's answer the client.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

COUNT: Final = 3000
PAUSE: Final = 0.0005
"""Seconds between two turns: who is woken has been asleep, as between two submissions."""


def _echo(end: socket.socket) -> None:
    while byte := end.recv(1):
        end.send(byte)


def _turns(end: socket.socket, count: int) -> list[float]:
    """Give how long each turn took, in milliseconds, the shortest first."""
    times = []
    for _ in range(count):
        time.sleep(PAUSE)
        begin = time.perf_counter()
        end.send(b".")
        end.recv(1)
        times.append((time.perf_counter() - begin) * 1000)
    return sorted(times)


def to_a_process(count: int = COUNT) -> list[float]:
    """Send a byte to another process and wait for it to come back."""
    near, far = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            near.close()
            _echo(far)
        finally:
            os._exit(0)
    far.close()
    try:
        return _turns(near, count)
    finally:
        near.close()
        os.waitpid(child, 0)


def to_a_thread(count: int = COUNT) -> list[float]:
    """Send a byte to another thread and wait for it to come back: the interpreter's lock has to go along."""
    near, far = socket.socketpair()
    thread = threading.Thread(target=_echo, args=(far,))
    thread.start()
    try:
        return _turns(near, count)
    finally:
        near.close()
        thread.join()
        far.close()


def figures() -> dict[str, float]:
    """Give the median and the 99th percentile of both, in milliseconds."""
    found = {}
    for name, times in (("process", to_a_process()), ("thread", to_a_thread())):
        found |= {f"wake_{name}_ms": times[len(times) // 2], f"wake_{name}_p99_ms": times[int(len(times) * 0.99)]}
    return found
