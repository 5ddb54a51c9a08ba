"""The devices that a command line asks for, and those of a run, with any library."""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from openatac.errors import DeviceError, FlagError
from openatac.system.threads import threads_in_environment


def choose_gpus(gpus: str, fall_back: bool, library: str, count: Callable[[], int],
                none_seen: str) -> tuple[list[int], str]:
    """Choose the GPUs to train on.

    Parameters
    ----------
    gpus : str
        Comma-separated indices, as in ``--gpus 0,1``; '' means the CPU.
    fall_back : bool
        Whether to use the CPU, and say so in the line, if the library sees no GPU at all, as the published
        CIFAR script does. If false, that raises a DeviceError.
    library : str
        The compute library, for messages.
    count : function
        Returns the number of GPUs that the library sees.
    none_seen : str
        Why the library sees none, for messages.

    Returns
    -------
    indices : list of int
        Empty for the CPU.
    line : str
        A log line saying that the run uses the CPU, or ''.

    Raises
    ------
    DeviceError
        If an index does not exist.
    FlagError
        If the text is not a list of indices.
    """
    wanted = parse_gpus(gpus)
    if not wanted:
        return [], describe_cpu()
    present = count()
    if not present:
        problem = f'there is no GPU {gpus} ({none_seen})'
        if not fall_back:
            raise DeviceError(problem)
        return [], f'{describe_cpu()}, as {problem}'
    if max(wanted) >= present:
        raise DeviceError(f'there is no GPU {max(wanted)} ({library} sees {present}): '
                          f'choose from 0 to {present - 1}')
    return wanted, ''


def describe_cpu() -> str:
    """Return a log line saying that the run uses the CPU, and how many threads."""
    threads = threads_in_environment()
    if not threads:
        return "running on the CPU with the library's default number of threads"
    noun = 'thread' if threads == '1' else 'threads'
    return f'running on the CPU with {threads} {noun}'


def parse_gpus(text: str) -> list[int]:
    """Return [0, 1] from '0,1'; raise FlagError for anything else."""
    fields = [field.strip() for field in text.split(',') if field.strip()]
    indices = [int(field) for field in fields if field.isdecimal()]
    if len(set(indices)) != len(fields):
        raise FlagError('--gpus', f'{text!r} is not a list of GPU indices like 0,1')
    return indices


# ---------------------------------------------------------------------------- devices of a run

class Devices(NamedTuple):
    """The devices of a run, '2 x gpu' or, for several processes, '2 x 1 x cpu' in its files.

    Attributes
    ----------
    kind : str
        'cpu' or 'gpu'.
    per_process : int
    processes : int
    """

    kind: str
    per_process: int = 1
    processes: int = 1

    @classmethod
    def parse(cls, text: str) -> Devices:
        """Return the devices from their words in a file; raise ValueError for other words."""
        *counts, kind = text.split(' x ')
        if kind not in ('cpu', 'gpu') or len(counts) not in (1, 2):
            raise ValueError(f'{text!r} does not name devices, such as 2 x gpu')
        return cls(kind, *(int(count) for count in reversed(counts)))

    def __str__(self) -> str:
        counts = [self.processes, self.per_process] if self.processes > 1 else [self.per_process]
        return ' x '.join([*map(str, counts), self.kind])

    @property
    def total(self) -> int:
        """The number of devices in all processes."""
        return self.processes * self.per_process

    @property
    def are_gpus(self) -> bool:
        """Whether they are GPUs."""
        return self.kind == 'gpu'
