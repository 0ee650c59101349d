"""`python -m gnt.bootstrap VERB`: what runs where no master daemon runs. See `gnt.bootstrap.talk`."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from gnt.bootstrap.talk import answer, progress, read_request, show_token
from gnt.model.layout import Layout, host_name


def _init() -> Any:
    from gnt.bootstrap.daemons import ALL, Daemons  # noqa: PLC0415

    layout = Layout.from_environment(os.environ)
    daemons = Daemons(layout, os.environ)
    # They load beside us, while we look at the machine and make certificates.
    for name in ALL:
        daemons.prepare(name)
    try:
        from gnt.bootstrap.init import ClusterInit, InitRequest  # noqa: PLC0415

        request = read_request(InitRequest)
        host = host_name(os.environ, socket.getfqdn())
        return ClusterInit(request, layout, host, progress, daemons=daemons).run()
    finally:
        daemons.dismiss()


def _leave() -> Any:
    from gnt.bootstrap.leave import LeaveRequest, leave  # noqa: PLC0415

    return leave(read_request(LeaveRequest), Layout.from_environment(os.environ), progress)


def _join() -> Any:
    from gnt.bootstrap.daemons import NODED, Daemons  # noqa: PLC0415

    layout = Layout.from_environment(os.environ)
    daemons = Daemons(layout, os.environ)
    # It loads beside us.
    daemons.prepare(NODED)
    try:
        from gnt.bootstrap.join import JoinCommand, NodeJoin  # noqa: PLC0415

        command = read_request(JoinCommand)
        host = host_name(os.environ, socket.getfqdn())
        return NodeJoin(command, layout, host, progress, daemons=daemons).run()
    finally:
        daemons.dismiss()


def _add() -> Any:
    from gnt.bootstrap.add import AddCommand, NodeAdd  # noqa: PLC0415

    return NodeAdd(read_request(AddCommand), Layout.from_environment(os.environ), os.environ, progress).run()


def _token() -> Any:
    from gnt.bootstrap.add import AddCommand, NodeAdd  # noqa: PLC0415

    layout = Layout.from_environment(os.environ)
    return NodeAdd(read_request(AddCommand), layout, os.environ, progress, show=show_token).run()


def _backup() -> Any:
    from gnt.bootstrap.backup import BackupRequest, backup  # noqa: PLC0415

    layout = Layout.from_environment(os.environ)
    host = host_name(os.environ, socket.getfqdn())
    return backup(read_request(BackupRequest), layout, host, progress, now=time.time)


def _restore() -> Any:
    from gnt.bootstrap.restore import Restore, RestoreRequest  # noqa: PLC0415

    layout = Layout.from_environment(os.environ)
    return Restore(read_request(RestoreRequest), layout, host_name(os.environ, socket.getfqdn()), progress).run()


def _rapi_certificate() -> Any:
    from gnt.bootstrap.rapi_certificate import RapiCertificate, put_certificate  # noqa: PLC0415

    return put_certificate(read_request(RapiCertificate), Layout.from_environment(os.environ))


def _failover() -> Any:
    from gnt.bootstrap.failover import Failover, FailoverRequest  # noqa: PLC0415

    request = read_request(FailoverRequest)
    layout = Layout.from_environment(os.environ)
    return Failover(request, layout, host_name(os.environ, socket.getfqdn()), progress).run()


VERBS: Final[dict[str, Callable[[], Any]]] = {
    "init": _init,
    "leave": _leave,
    "join": _join,
    "add": _add,
    "token": _token,
    "rapi-certificate": _rapi_certificate,
    "backup": _backup,
    "restore": _restore,
    "failover": _failover,
}


def main(arguments: list[str]) -> int:
    """Run a verb; gives the exit status."""
    if len(arguments) != 1 or arguments[0] not in VERBS:
        sys.stderr.write(f"usage: python -m gnt.bootstrap {'|'.join(VERBS)}   (a JSON object on standard input)\n")
        return 2
    return answer(VERBS[arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
