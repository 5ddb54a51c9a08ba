"""Ports reserved for the processes of a run from the moment they are chosen."""
import socket

from openatac.errors import OpenatacError, reason


def bind(address: str, port: int) -> socket.socket:
    """Reserve a port (0: any free one) for this run's processes with a socket.

    Until the socket is closed, the system does not give the port to processes that ask for any free port, and
    a process that asks for this one must set SO_REUSEADDR, as MXNet's ZeroMQ does.

    Raises
    ------
    OSError
        If the port cannot be reserved.
    OverflowError
        For an invalid port.
    """
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
    kept = socket.socket(family, socket.SOCK_STREAM)
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((address, port))
    except (OSError, OverflowError):
        kept.close()
        raise
    return kept


def keep_ports(address: str, count: int) -> list[socket.socket]:
    """Reserve ``count`` consecutive ports and return their sockets, to hold as long as the run needs them.

    Raises
    ------
    OpenatacError
        If the address is not this machine's, or has no such ports.
    """
    for _ in range(100):
        try:
            ports = [bind(address, 0)]
        except OSError as error:
            raise OpenatacError(f'{address} is not an address of this machine ({reason(error)}): choose '
                                'another --host') from None
        first = ports[0].getsockname()[1]
        try:
            ports += [bind(address, first + index) for index in range(1, count)]
            return ports
        except (OSError, OverflowError):  # in use, or above the highest port
            for kept in ports:
                kept.close()
    raise OpenatacError(f'there are no {count} consecutive free ports on {address}: set one with --port')
