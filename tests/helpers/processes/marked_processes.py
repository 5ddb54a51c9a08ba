"""Find all processes that a test has started, at any depth, by a mark that they inherit."""
import contextlib
import os
from pathlib import Path

MARK = 'OPENATAC_TEST_MARK'


def marked_processes(mark):
    """Return {process id: command line} of all running processes whose variable `MARK` is ``mark``."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            if f'{MARK}={mark}'.encode() in Path('/proc', pid, 'environ').read_bytes().split(b'\0'):
                found[int(pid)] = Path('/proc', pid, 'cmdline').read_text().replace('\0', ' ')
    return {pid: command for pid, command in found.items() if command}
