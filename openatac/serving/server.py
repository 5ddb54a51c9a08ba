"""Run the application until a signal stops it."""
from __future__ import annotations

import math
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from openatac.console.signals import stop_signals
from openatac.errors import OpenatacError, reason


def serve(app: FastAPI, host: str, port: int, seconds: float, started: Callable[[str], None]) -> None:
    """Serve an application until SIGINT or SIGTERM, then finish pending requests.

    Parameters
    ----------
    app : FastAPI
    host : str
        The address to listen on.
    port : int
        0 takes a free one.
    seconds : float
        How long finishing them may take.
    started : function
        Called with the URL once connections are accepted.

    Raises
    ------
    OpenatacError
        If the server cannot listen on the address.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OpenatacError(f'cannot listen on {host}, port {port} ({reason(error)}): choose another '
                            '--port, or a --host of this machine') from None
    server = uvicorn.Server(uvicorn.Config(app, log_level='warning',
                                           timeout_graceful_shutdown=math.ceil(seconds)))

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    with listener, stop_signals(stop):  # uvicorn raises again the signal that stopped it
        name = f'[{host}]' if family == socket.AF_INET6 else host
        started(f'http://{name}:{listener.getsockname()[1]}/')
        server.run(sockets=[listener])
