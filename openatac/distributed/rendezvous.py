"""How a process finds the others of its run; for MXNet, as its DMLC_* variables describe it."""
from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from openatac.errors import OpenatacError
from openatac.limits import MAX_PORT, MAX_SECONDS
from openatac.options.flag_types import PORT, number
from openatac.registry import LibraryName

ROLES = ('scheduler', 'server', 'worker')
LAUNCH = 'start all processes of the run with: openatac launch -n WORKERS -s SERVERS -- COMMAND'
MAX_PROCESSES = 10000  # of each role

_PROCESSES = number(int, low=1, high=MAX_PROCESSES)
_SECONDS = number(float, low=0.1, high=MAX_SECONDS)


class Rendezvous(NamedTuple):
    """What a process must know to find the others of its run and to stay with them.

    Attributes
    ----------
    role : str
        Of this process, one of `ROLES`.
    address, hub_port : str, int
        Where the hub of `openatac.distributed.hub` listens.
    workers, servers : int
        The number of each; PyTorch has no servers.
    scheduler_port : int
        Where MXNet's scheduler listens, on the same address; PyTorch has none.
    name : str
        A word that identifies the run, shared by all of its processes and by no others.
    arrival_timeout : float
        Seconds for all processes to arrive.
    heartbeat_timeout : float
        Seconds after which a silent process counts as dead.
    failure_grace : float
        Seconds that a process has to end with its own message after it learns of a failure.
    library : 'gluon' or 'torch'
        The one whose processes exchange the arrays.
    """

    role: str
    address: str
    hub_port: int
    workers: int
    servers: int = 0
    scheduler_port: int = 0
    name: str = ''
    arrival_timeout: float = 120.0
    heartbeat_timeout: float = 20.0
    failure_grace: float = 1.0
    library: LibraryName = 'gluon'

    # For messages; PyTorch has neither servers nor a scheduler.

    @property
    def hub_process(self) -> str:
        """What users call the process of the hub."""
        return 'the scheduler' if self.library == 'gluon' else 'worker 0'

    @property
    def run_address(self) -> str:
        """The address and port by which users know the run."""
        return f'{self.address}, port {self.scheduler_port or self.hub_port}'

    @property
    def address_variable(self) -> str:
        """The environment variable with the address."""
        return 'DMLC_PS_ROOT_URI' if self.library == 'gluon' else 'MASTER_ADDR'

    @property
    def port_variable(self) -> str:
        """The environment variable that keeps runs apart."""
        return 'DMLC_PS_ROOT_PORT' if self.library == 'gluon' else 'MASTER_PORT'

    @property
    def count_variables(self) -> str:
        """The environment variables with the numbers of processes."""
        return 'DMLC_NUM_WORKER and DMLC_NUM_SERVER' if self.library == 'gluon' else 'WORLD_SIZE'


def read_rendezvous(environment: Mapping[str, str], kvstore: str = 'dist_sync') -> Rendezvous:
    """Return the `Rendezvous` that the variables describe; raise OpenatacError if they do not."""
    role = environment.get('DMLC_ROLE')
    if role not in ROLES:
        raise OpenatacError(f'the key-value store {kvstore} needs DMLC_ROLE to be scheduler, server or '
                            f'worker, but it is {repr(role) if role else "missing"}: {LAUNCH}')
    address = environment.get('DMLC_PS_ROOT_URI')
    if not address:
        raise OpenatacError(f"DMLC_PS_ROOT_URI must be the scheduler's address, but is missing: {LAUNCH}")
    port = _read(environment, 'DMLC_PS_ROOT_PORT', PORT)
    beside = port + 1 if port < MAX_PORT else port - 1
    return Rendezvous(
        role, address, scheduler_port=port,
        hub_port=_read(environment, 'OPENATAC_MEMBERSHIP_PORT', PORT, beside),
        workers=_read(environment, 'DMLC_NUM_WORKER', _PROCESSES),
        servers=_read(environment, 'DMLC_NUM_SERVER', _PROCESSES),
        name=environment.get('OPENATAC_MEMBERSHIP_NAME', ''), **read_seconds(environment))


def read_seconds(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return {field of `Rendezvous`: seconds} for the timeouts that the user can set."""
    defaults = Rendezvous._field_defaults
    return {name: _read(environment, f'OPENATAC_MEMBERSHIP_{variable}', _SECONDS, defaults[name])
            for name, variable in (('arrival_timeout', 'WAIT'), ('heartbeat_timeout', 'SILENCE'))}


def _read(environment: Mapping[str, str], variable: str, kind: Any, default: float | None = None) -> Any:
    text = environment.get(variable)
    if text is None:
        if default is None:
            raise OpenatacError(f'{variable} must be {kind}, but is missing: {LAUNCH}')
        return default
    try:
        return kind(text)
    except argparse.ArgumentTypeError:
        raise OpenatacError(f'{variable} must be {kind}, but is {text!r}: {LAUNCH}') from None


def set_addresses(rendezvous: Rendezvous) -> None:
    """Set the addresses on which this process's MXNet listens.

    MXNet listens on addresses, not on names, and by default never on the loopback interface.
    """
    own = ('DMLC_NODE_HOST', 'DMLC_PS_ROOT_URI') if rendezvous.role == 'scheduler' else ('DMLC_NODE_HOST',)
    for variable in own:
        name = os.environ.get(variable)
        if name:
            try:
                os.environ[variable] = str(socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0])
            except (OSError, UnicodeError):
                raise OpenatacError(f'{variable} is {name!r}, which is neither an IPv4 address nor a name '
                                    'that this machine can resolve: correct it') from None
    if rendezvous.address.startswith(('127.', 'localhost')) and not os.environ.get('DMLC_INTERFACE'):
        os.environ.setdefault('DMLC_NODE_HOST', '127.0.0.1')
