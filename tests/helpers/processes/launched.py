"""Start `openatac launch` as a process, with commands for it to launch."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.marked_processes import MARK, marked_processes

LAUNCH = 'import sys; from openatac import cli; sys.exit(cli.main(["launch", *sys.argv[1:]]))'
WORKER = [sys.executable, str(ROOT / 'tests' / 'helpers' / 'processes' / 'cluster_worker.py')]

# A command without MXNet. It prints its role, and does what its arguments (role=deed) say for that role.
COMMAND = '''
import os, signal, subprocess, sys, time
role = os.environ['DMLC_ROLE'] + os.environ.get('DMLC_TASK_ID', '')
os.write(1, (' '.join(['here', role, *sys.argv[1:]]) + '\\n').encode())
print('no newline', file=sys.stderr, end='', flush=True)
deed = dict(word.split('=') for word in sys.argv[1:] if '=' in word).get(role, '0')
if deed == 'child':
    subprocess.Popen(['sleep', '300'], stdout=subprocess.DEVNULL)
    time.sleep(300)
elif deed == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(300)
elif deed.startswith('save'):  # saves when asked to stop, in the given number of seconds
    def save(number, frame):
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        print('saving', flush=True)
        time.sleep(float(deed[4:]))
        print('saved', flush=True)
        sys.exit(128 + number)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, save)
    print('here too', flush=True)
    time.sleep(300)
elif deed == 'suicide':
    os.kill(os.getpid(), signal.SIGKILL)
elif deed == 'sleep':
    time.sleep(300)
sys.exit(int(deed))
'''
PLAIN = [sys.executable, '-S', '-c', COMMAND]


class Launched:
    """A running launcher, and the mark that identifies all of its processes."""

    def __init__(self, *arguments, command, path='', **environment):
        self.mark = os.urandom(8).hex()
        self.process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, '--patience', '0.2', *map(str, arguments), '--',
             *map(str, command)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=child_environment(**{MARK: self.mark, 'PATH': path + os.environ['PATH'], **environment}))

    def processes(self):
        """Return {process id: command line} of this launch's processes that are still running."""
        return {pid: line for pid, line in marked_processes(self.mark).items() if pid != self.process.pid}

    def wait_for(self, pattern, count=1):
        """Read the output until ``count`` lines match; return the matches."""
        found = []
        while len(found) < count:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            found += filter(None, [re.search(pattern, line)])
        return found

    def finish(self, timeout=60):
        """Wait for the end; return (exit code, lines of standard output, lines of standard error).

        None of its processes may still be running then.
        """
        try:
            output, errors = self.process.communicate(timeout=timeout)
            end = time.monotonic() + 5  # the guard ends a moment after the launcher
            while self.processes() and time.monotonic() < end:
                time.sleep(0.02)
            assert not self.processes()
        finally:
            for pid in [self.process.pid, *self.processes()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return self.process.returncode, output.splitlines(), errors.splitlines()


def launch(*arguments, **options):
    return Launched(*arguments, **options).finish()


def sentences(errors):
    """Return {label: sentence} from the lines '[label] error: sentence'."""
    found = [re.fullmatch(r'\[(.+?)\] error: (.*)', line) for line in errors]
    found = [match.groups() for match in found if match]
    assert len(dict(found)) == len(found), errors
    return dict(found)


def listening_addresses(pid):
    """Yield the addresses on which a process listens."""
    sockets = {os.readlink(path) for path in Path(f'/proc/{pid}/fd').iterdir()}
    for family in ('tcp', 'tcp6'):
        rows = [line.split() for line in Path(f'/proc/{pid}/net/{family}').read_text().splitlines()[1:]]
        for row in rows:
            if row[3] == '0A' and f'socket:[{row[9]}]' in sockets:
                packed = bytes.fromhex(row[1].split(':')[0])[::-1]
                yield socket.inet_ntoa(packed) if family == 'tcp' else row[1]
