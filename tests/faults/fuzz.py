"""Damage files of every kind and count what their readers do: ``python -m tests.faults.fuzz --minutes 10``.

A reader may accept a damaged file or refuse it with one clear error. Faults are a traceback, the death of
the process by a signal, more than 10 seconds of computing (or 60 of waiting), and changed content that is
accepted although a checksum exists. Each case runs in its own process and depends only on the seed, the
reader and its number. The input and output of each fault are kept; the exit code is 1 if there is a fault.
"""
import argparse
import collections
import contextlib
import faulthandler
import gc
import itertools
import logging
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import NamedTuple, Optional

from openatac.text import text_table
from tests.faults.mutate import damage
from tests.faults.readers import REFUSALS, Content, Reader, readers, write_files

SAME, CHANGED, REFUSED = 'same', 'changed', 'refused'
TRACEBACK, SIGNAL, HANG, SILENT = 'traceback', 'signal', 'hang', 'silent change'
OUTCOMES = SAME, CHANGED, REFUSED, TRACEBACK, SIGNAL, HANG, SILENT
FAULTS = OUTCOMES[3:]
COMPUTING, WAITING = 10, 60  # seconds; the second limit is long because the machine may be busy
MEMORY = 16 * 2 ** 30        # a process's address space in bytes


class Case(NamedTuple):
    """A reader's file to damage."""

    seed: int
    reader: Reader
    number: int

    @property
    def name(self) -> str:
        return f"{self.reader.name.replace(', ', '-').replace(' ', '-')}-seed{self.seed}-{self.number}"


class Fuzzer:
    """Runs cases.

    Parameters
    ----------
    folder : str
        Holds the intact files.
    keep : str
        Receives the inputs of faults.
    """

    def __init__(self, folder: str, keep: str):
        self._folder, self._keep = folder, keep
        write_files(folder)
        self._whole: dict[str, Content] = {}

    def run(self, case: Case) -> str:
        """Run a case and return its outcome, one of OUTCOMES."""
        place = os.path.join(self._folder, 'case')
        outcome = self._in_process(case, place)
        if outcome in FAULTS:
            shutil.copytree(place, os.path.join(self._keep, case.name), dirs_exist_ok=True)
            print(f'{outcome}: {case.name}', file=sys.stderr, flush=True)
        shutil.rmtree(place)
        return outcome

    def _in_process(self, case: Case, place: str) -> str:
        if case.reader.name not in self._whole:
            self._whole[case.reader.name] = case.reader.read(self._copy(case.reader, place))
            shutil.rmtree(place)
        self._damage(case, self._copy(case.reader, place))
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            os.write(writing, self._outcome(case.reader, place).encode())
            os._exit(0)
        os.close(writing)
        try:
            return _wait(process, reading)
        finally:
            os.close(reading)

    def _copy(self, reader: Reader, place: str) -> str:
        return shutil.copytree(os.path.join(self._folder, reader.kind), place)

    @staticmethod
    def _damage(case: Case, place: str) -> None:
        random = Random(case.name)
        path = os.path.join(place, random.choice(case.reader.files))
        with open(path, 'rb') as handle:
            whole = handle.read()
        damaged = whole
        while damaged == whole:
            damaged = damage(whole, path.endswith('.json'), random)
        with open(path, 'wb') as handle:
            handle.write(damaged)

    def _outcome(self, reader: Reader, place: str) -> str:
        """Read the damaged files in the case's process, and return the outcome."""
        resource.setrlimit(resource.RLIMIT_CPU, (COMPUTING, COMPUTING + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()  # pytest's handler, which writes pages
        output = os.open(os.path.join(place, 'output'), os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        try:
            found = reader.read(place)
        except REFUSALS:
            return REFUSED
        except BaseException:
            os.write(2, traceback.format_exc().encode('utf-8', 'backslashreplace'))
            return TRACEBACK
        return _compare(self._whole[reader.name], found, reader.has_checksum)


def _compare(whole: Content, found: Content, has_checksum: bool) -> str:
    if any(whole.get(part) != content for part, content in found.items()):
        return SILENT if has_checksum else CHANGED
    return SAME if len(found) == len(whole) else REFUSED


def _wait(process: int, pipe: int) -> str:
    """Return the outcome that a process reports, or how it ends otherwise."""
    ready, _, _ = select.select([pipe], [], [], WAITING)
    outcome = os.read(pipe, 100).decode() if ready else ''
    if not ready:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if outcome:
        return outcome
    return HANG if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU) else SIGNAL


def fuzz(cases: Iterable[Case], keep: str, counts: dict[str, Counter[str]]) -> None:
    """Run the cases and count their outcomes in {name of the reader: counts}."""
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(folder, keep)
        gc.freeze()  # otherwise each process would copy all objects by counting references
        try:
            for case in cases:
                counts[case.reader.name][fuzzer.run(case)] += 1
        finally:
            gc.unfreeze()


def cases_of(seed: int, chosen: list[Reader], until: Optional[float], most: Optional[int]) -> Iterable[Case]:
    """Yield cases of each reader in turn, until the given time and up to a number for each."""
    for number in itertools.count() if most is None else range(most):
        for reader in chosen:
            if until is not None and time.monotonic() > until:
                return
            yield Case(seed, reader, number)


def table(counts: dict[str, Counter[str]]) -> str:
    total: Counter[str] = sum(counts.values(), collections.Counter())
    return text_table([('reader', 'cases', *OUTCOMES)] + [
        (name, str(sum(found.values())), *(str(found[outcome]) for outcome in OUTCOMES))
        for name, found in [*counts.items(), ('all', total)]])


def main() -> int:
    p = argparse.ArgumentParser(prog='python -m tests.faults.fuzz', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=10, help='(default: %(default)s)')
    p.add_argument('--seed', type=int, default=0, help='(default: %(default)s)')
    p.add_argument('--reader', action='append', help='only this one; may be repeated')
    p.add_argument('--case', type=int, help='only the case of this number')
    p.add_argument('--keep', help='folder for the inputs of faults (default: a new one)')
    args = p.parse_args()
    logging.getLogger('openatac').setLevel(logging.ERROR)  # the archive is known to be made up
    chosen = [reader for reader in readers() if reader.name in (args.reader or [reader.name])]
    if not chosen:
        p.error(f'argument --reader: choose from {", ".join(reader.name for reader in readers())}')
    keep = args.keep or tempfile.mkdtemp(prefix='fuzz-')
    counts: dict[str, Counter[str]] = {reader.name: collections.Counter() for reader in chosen}
    cases = cases_of(args.seed, chosen, time.monotonic() + 60 * args.minutes, None)
    if args.case is not None:
        cases = [Case(args.seed, reader, args.case) for reader in chosen]
    with contextlib.suppress(KeyboardInterrupt):
        fuzz(cases, keep, counts)
    print(table(counts))
    if not any(found[fault] for found in counts.values() for fault in FAULTS):
        return 0
    print(f'the inputs of the faults are in {keep}')
    return 1


if __name__ == '__main__':
    sys.exit(main())
