"""The devices that a command line asks for, and those of a run in words, with any library."""
import math
from collections.abc import Callable

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


# ---------------------------------------------------------------- devices of a run, as in its files

def describe_devices(processes: int, count: int, kind: str) -> str:
    """Return '2 x gpu' or, for several processes, '2 x 1 x cpu'; each has ``count`` devices of a kind."""
    return f'{processes} x {count} x {kind}' if processes > 1 else f'{count} x {kind}'


def count_devices(devices: str) -> int:
    """Count the devices in a text of `describe_devices`."""
    return math.prod(int(factor) for factor in devices.split(' x ')[:-1])


def are_gpus(devices: str) -> bool:
    """Return whether the devices in a text of `describe_devices` are GPUs."""
    return devices.endswith('gpu')
