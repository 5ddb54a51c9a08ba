"""`openatac launch` and runs of several processes with MXNet's parameter server, all on loopback."""
import concurrent.futures
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train_imagenet
from openatac.distributed import launchers
from openatac.distributed.parameter_server import describe_optimizer, make_optimizer
from openatac.distributed.processes import ProcessGroup
from tests.conftest import ROOT
from tests.helpers.marked_processes import MARK, marked_processes

LAUNCH = '''
import sys
from openatac.errors import OpenatacError
from openatac.commands.launch import main
try:
    sys.exit(main(sys.argv[1:]))
except OpenatacError as error:
    sys.exit('openatac launch: %s' % error)
'''
WORKER = [sys.executable, str(ROOT / 'tests' / 'helpers' / 'cluster_worker.py')]

# A command without MXNet. It says who it is, and does by role what its arguments say: role=deed.
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
elif deed.startswith('save'):  # when asked to stop, which takes that many seconds
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
    """A launcher that runs, and the mark by which all of its processes are known."""

    def __init__(self, *arguments, command, path='', **environment):
        self.mark = os.urandom(8).hex()
        self.process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, '--patience', '0.2', *map(str, arguments), '--',
             *map(str, command)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', MARK: self.mark,
                 'PATH': path + os.environ['PATH'], **environment})

    def processes(self):
        """{process id: its command line} of all that this launch has started and still run."""
        return {pid: line for pid, line in marked_processes(self.mark).items() if pid != self.process.pid}

    def wait_for(self, pattern, count=1):
        """Read the output until that many lines match; the matches."""
        found = []
        while len(found) < count:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            found += filter(None, [re.search(pattern, line)])
        return found

    def finish(self, timeout=60):
        """(exit code, lines of standard output, lines of standard error); nothing may be left."""
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


def test_a_group_that_is_gone_is_not_signalled_later():
    """Its number may belong to another process by then. One whose children live on is."""
    told = []
    group = ProcessGroup(told.append)
    gone = group.start('worker 0', [sys.executable, '-S', '-c', ''], {})
    orphans = group.start('worker 1', ['sh', '-c', 'sleep 300 > /dev/null 2>&1 &'], {})
    assert group.wait() == 0
    group.end()
    assert sorted(told) == sorted([gone.pid, -gone.pid, orphans.pid])


def launch(*arguments, **options):
    return Launched(*arguments, **options).finish()


def sentences(errors):
    """{label: its sentence} of the lines '[label] error: sentence'."""
    found = [re.fullmatch(r'\[(.+?)\] error: (.*)', line) for line in errors]
    found = [match.groups() for match in found if match]
    assert len(dict(found)) == len(found), errors
    return dict(found)


# ---------------------------------------------------------------------- with MXNet's kvstore

def killer(role):
    """Kill the process of a role when both workers are deep in MXNet."""
    def kill(launched):
        launched.wait_for('stuck', 2)
        pid, = (pid for pid in launched.processes() if is_last(role, environment_of(pid)))
        os.kill(pid, signal.SIGKILL)
    return kill


def environment_of(pid):
    return Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')


def is_last(role, variables):
    """Whether these are the variables of the role's last process in a run of two workers."""
    return b'DMLC_ROLE=' + role.encode() in variables and (role != 'worker' or b'DMLC_TASK_ID=1' in variables)


def listening(pid):
    """The IPv4 addresses on which a process listens."""
    sockets = {os.readlink(path) for path in Path(f'/proc/{pid}/fd').iterdir()}
    for family in ('tcp', 'tcp6'):
        rows = [line.split() for line in Path(f'/proc/{pid}/net/{family}').read_text().splitlines()[1:]]
        for row in rows:
            if row[3] == '0A' and f'socket:[{row[9]}]' in sockets:
                packed = bytes.fromhex(row[1].split(':')[0])[::-1]
                yield socket.inet_ntoa(packed) if family == 'tcp' else row[1]


# What the workers do, and what is done meanwhile. Each run, which costs seconds, ends in a failure.
CASES = {
    'sync': ('dist_sync add_up gather alike train crash', None),
    'async': ('dist_async train mismatch', None),
}
# Much the same is seen by test_membership.py, and by test_cluster_training.py.
SLOW_CASES = {
    'device': ('dist_device_sync add_up', None),
    'sentence': ('dist_sync sentence', None),
    'leave': ('dist_sync leave', None),
    'unequal': ('dist_sync unequal', None),
    'killed worker': ('dist_sync stuck', killer('worker')),
    'killed server': ('dist_sync stuck', killer('server')),
    'killed scheduler': ('dist_sync stuck', killer('scheduler')),
}
slow = pytest.mark.slow


def run_all(cases):
    """{case: (exit code, output, errors)}; some at a time, since each spends seconds on waiting."""
    def run(case):
        actions, meanwhile = cases[case]
        launched = Launched('-n', 2, '-s', 1, '--patience', 5, command=[*WORKER, *actions.split()])
        if meanwhile:
            meanwhile(launched)
        return launched.finish()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return dict(zip(cases, pool.map(run, cases)))


@pytest.fixture(scope='module')
def runs():
    return run_all(CASES)


@pytest.fixture(scope='module')
def slow_runs():
    return run_all(SLOW_CASES)


def said_by(worker, output):
    """Its lines, without the label and its rank."""
    label = f'[worker {worker}] {worker} '
    return [line[len(label):] for line in output if line.startswith(label)]


def test_two_workers_add_up_and_talk(runs):
    output = runs['sync'][1]
    for rank in range(2):
        assert said_by(rank, output) == [
            'sums [3.0, 6.0, 9.0]', "gathered [0, 1] True [{'0'}, {'1'}] [300000, 300000]", 'alike',
            'weight [0.92625]', 'bias [1.0]']  # 0.95 * 0.975; biases do not decay


@slow
def test_two_workers_add_up_on_their_devices(slow_runs):
    code, output, errors = slow_runs['device']
    assert (code, errors) == (0, [])
    assert [said_by(rank, output) for rank in range(2)] == [['sums [3.0, 6.0, 9.0]']] * 2


def test_servers_that_update_follow_rate_and_decay_without_pickles(runs):
    # Each worker's push is a step of its own: 0.95^2 * 0.975^2.
    assert [said_by(rank, runs['async'][1]) for rank in range(2)] == [['weight [0.857939]', 'bias [1.0]']] * 2


def test_every_process_reports_the_settings_in_which_workers_differ(runs):
    code, _, errors = runs['async']
    assert code == 1
    said = sentences(errors)
    assert sorted(said) == ['scheduler', 'server 0', 'worker 0', 'worker 1']
    for worker in ('worker 0', 'worker 1'):
        assert 'lr is 0.1 on worker 0, 0.2 on worker 1' in said[worker]
        assert 'only0 is True on worker 0, missing on worker 1' in said[worker]
        assert 'seed' not in said[worker]


def check_failure(result, cause, own=None):
    """All others report that worker 1 failed from the cause; it itself says its ``own``."""
    code, _, errors = result
    assert code == 1
    said = sentences(errors)
    for other in ('worker 0', 'server 0', 'scheduler'):
        assert re.match(r'worker 1 on .* \(process \d+\) ', said[other]) and cause in said[other]
    assert said.get('worker 1') == own


def test_a_bug_in_one_worker_ends_all(runs):
    check_failure(runs['sync'], 'RuntimeError: a bug')
    assert '[worker 1] RuntimeError: a bug' in runs['sync'][2]


@slow
def test_failures_of_one_worker_end_all(slow_runs):
    check_failure(slow_runs['sentence'], 'the loss became nan', 'the loss became nan')
    check_failure(slow_runs['leave'], '')
    code, _, errors = slow_runs['unequal']
    assert code == 1 and len(sentences(errors)) == 4


@slow
@pytest.mark.parametrize('case, who', [
    ('killed worker', 'worker 1 on '), ('killed server', 'server on '),
    ('killed scheduler', 'the scheduler on 127.0.0.1 ')])
def test_a_killed_process_ends_all_even_in_mxnet(slow_runs, case, who):
    code, _, errors = slow_runs[case]
    assert code == 128 + signal.SIGKILL
    said = sentences(errors)
    assert len(said) == 3
    assert all(line.startswith(who) and '--resume auto' in line for line in said.values()), said


def test_an_optimizer_survives_as_json():
    import mxnet as mx
    ours = mx.optimizer.create('nag', learning_rate=0.3, momentum=0.8, wd=0.01, multi_precision=True,
                               param_idx2name={0: 'layer_weight', 1: 'layer_bias'})
    theirs = make_optimizer(json.loads(json.dumps(describe_optimizer(ours))))
    assert type(theirs) is type(ours)
    for name in ('lr', 'wd', 'momentum', 'multi_precision', 'wd_mult', 'idx2name', 'rescale_grad'):
        assert getattr(theirs, name) == getattr(ours, name)
    decayed = []
    for optimizer in (ours, theirs):
        for index in range(2):
            values = mx.nd.ones(3)
            optimizer.update_multi_precision(
                index, values, mx.nd.zeros(3), optimizer.create_state_multi_precision(index, values))
            decayed.append(values.asnumpy().tolist())
    assert decayed[:2] == decayed[2:] and decayed[0] != decayed[1] == [1, 1, 1]


# -------------------------------------------------------------------------- the launcher alone

def test_lines_are_labelled_and_arguments_arrive():
    words = ['a b', "it's", '$HOME', '"', '*']
    code, output, errors = launch('-n', 2, '-s', 1, '--env', 'A=b c', command=[*PLAIN, *words])
    assert code == 0
    said = ' '.join(words)
    assert sorted(output) == ['[scheduler] here scheduler ' + said, '[server 0] here server0 ' + said,
                              '[worker 0] here worker0 ' + said, '[worker 1] here worker1 ' + said]
    assert sorted(errors) == [f'[{who}] no newline'
                              for who in ('scheduler', 'server 0', 'worker 0', 'worker 1')]


@pytest.mark.parametrize('deed, expected', [pytest.param('7', 7, marks=pytest.mark.slow), ('suicide', 137)])
def test_the_first_failure_ends_all_and_is_the_exit_code(deed, expected):
    code, _, errors = launch('-n', 2, '-s', 1, command=[
        *PLAIN, 'worker1=' + deed, 'worker0=child', 'server0=stubborn', 'scheduler=sleep'])
    assert code == expected
    assert any(f'worker 1 ended with code {expected}' in line for line in errors)


def test_servers_without_work_do_not_keep_the_run_alive():
    assert launch('-n', 1, command=[*PLAIN, 'server0=sleep', 'scheduler=sleep'])[0] == 0


def launch_saving(seconds):
    """A launched run whose worker 0 takes so long for its checkpoint when asked to stop; all are here."""
    launched = Launched('-n', 2, '-s', 1, command=[
        *PLAIN, f'worker0=save{seconds}', 'worker1=sleep', 'server0=sleep', 'scheduler=sleep'])
    launched.wait_for('here', 5)
    return launched


@pytest.mark.parametrize('number', [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_waits_for_the_checkpoint(number):
    launched = launch_saving(0.3)
    launched.process.send_signal(number)
    code, output, _ = launched.finish()
    assert code == 128 + number and '[worker 0] saved' in output


@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_second_signal_does_not_wait_for_the_checkpoint(number):
    launched = launch_saving(300)
    launched.process.send_signal(number)
    launched.wait_for('saving')
    launched.process.send_signal(number)
    assert launched.finish()[0] == 128 + number


def test_a_killed_launcher_leaves_nothing():
    launched = Launched('-n', 2, '-s', 1, command=[
        'sh', '-c', shlex.join([*PLAIN, 'worker0=child', 'worker1=stubborn', 'server0=sleep',
                                'scheduler=sleep']) + '; true'])
    launched.wait_for('here', 4)
    launched.process.kill()
    assert launched.finish()[0] == -signal.SIGKILL


@pytest.mark.parametrize('arguments, text', [
    (['-n', '0'], '--workers: 0'),
    (['-n', '1', '--cluster', 'ssh'], '--hostfile: ssh'),
    (['-n', '1', '--cluster', 'slurm', '--hostfile', 'x'], '--hostfile: it is for ssh and mpi'),
    (['-n', '1', '--cluster', 'yarn'], "'yarn'"),
    (['-n', '2', '--port', '65533'], '65532'),
    (['-n', '1', '--env', '1=2'], "'1=2' is not NAME or NAME=VALUE"),
    (['-n', '1', '--env', 'NOT_SET_HERE'], 'NOT_SET_HERE'),
])
def test_command_lines_that_make_no_run(arguments, text):
    code, _, errors = launch(*arguments, command=['true'])
    assert code == 2 and text in errors[-1], errors


def test_what_the_launcher_cannot_use_is_named(tmp_path):
    (tmp_path / 'empty').write_text('# nothing\n')
    (tmp_path / 'wrong').write_text('-oProxyCommand=x\n')
    for arguments, command, text in (
            (['-n', 1], ['/nonexistent'], '/nonexistent'),
            (['-n', 1, '--host', '192.0.2.77'], ['true'], '192.0.2.77'),
            (['-n', 1, '--hostfile', tmp_path / 'none'], ['true'], '/none'),
            (['-n', 1, '--hostfile', tmp_path / 'empty', '--host', '127.0.0.1'], ['true'], '/empty'),
            (['-n', 1, '--hostfile', tmp_path / 'wrong'], ['true'], '-oProxyCommand=x')):
        code, _, errors = launch(*arguments, command=command)
        assert code == 1 and text in errors[-1], errors


# ------------------------------------------------------------------ simulated other machines

# Stands for ssh, mpirun, srun and qsub: notes its arguments, and runs the command here.
STAND_IN = f'#!{sys.executable}' + '''
import json, os, subprocess, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
if arguments == ['--version']:
    sys.exit(print(os.environ['MPI']))
def note(**more):
    with open(os.environ['NOTES'], 'a') as notes:
        notes.write(json.dumps({'name': name, 'arguments': arguments, **more}) + '\\n')
if name == 'ssh':
    note()
    # a new session, and only these variables: as on another machine
    mark = {n: v for n, v in os.environ.items() if n in ('PATH', 'OPENATAC_TEST_MARK')}
    sys.exit(subprocess.call(['sh', '-c', arguments[-1]], env=mark, start_new_session=True))
if name == 'qsub':
    script = sys.stdin.read()
    note(script=script)
    count = int(arguments[arguments.index('-t') + 1].split('-')[1])
    tasks = [subprocess.Popen(['sh', '-c', script], env={**os.environ, 'SGE_TASK_ID': str(n + 1)})
             for n in range(count)]
else:
    note(variables=dict(os.environ))
    count = int(arguments[arguments.index('-n') + 1])
    command = arguments[arguments.index(sys.executable):]
    tasks = [subprocess.Popen(command, env={**os.environ, 'DMLC_TASK_ID': str(n)}) for n in range(count)]
sys.exit(max(task.wait() for task in tasks))
'''


@pytest.fixture
def fake_cluster(tmp_path):
    """Function that launches on a fake cluster; it returns also what the stand-ins were given."""
    for name in ('ssh', 'mpirun', 'srun', 'qsub'):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    notes = tmp_path / 'notes'

    def start(*arguments, command, **environment):
        return Launched(*arguments, '--host', '127.0.0.1', command=command, path=f'{tmp_path}:',
                        NOTES=str(notes), **environment)

    def run(*arguments, command, **environment):
        result = start(*arguments, command=command, **environment).finish()
        return [*result, [json.loads(line) for line in notes.read_text().splitlines()]]

    run.start = start
    return run


WORDS = ['a b', "it's $HOME", '*']


def who_was_here(output):
    return sorted(re.sub(r'^\[.*?\] ', '', line) for line in output)


EXPECTED = [' '.join(['here', who, *WORDS]) for who in ('scheduler', 'server0', 'worker0', 'worker1')]


def test_ssh(fake_cluster, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1 slots=2\n\nlocalhost:2222  # a comment\n')
    code, output, _, notes = fake_cluster('-n', 2, '-s', 1, '--hostfile', tmp_path / 'hosts', '--env',
                                    "GREETING=it's me", command=[*PLAIN, *WORDS])
    assert code == 0 and who_was_here(output) == EXPECTED
    assert {line.split(']')[0] for line in output} == {'[scheduler', '[server 0', '[worker 0', '[worker 1'}
    given = [note['arguments'][:-1] for note in notes]
    batch = ['-o', 'BatchMode=yes']
    assert sorted(given) == sorted([[*batch, '127.0.0.1'], [*batch, '-p', '2222', 'localhost'],
                                    [*batch, '127.0.0.1']])
    for note in notes:
        words = shlex.split(shlex.split(note['arguments'][-1])[-1])
        assert words[:2] == ['cd', os.getcwd()]
        assert {"GREETING=it's me", 'DMLC_NUM_WORKER=2', 'DMLC_NODE_HOST=127.0.0.1'} <= set(words)
        assert words[-len(WORDS):] == WORDS


def test_ssh_leaves_nothing_at_the_other_end(fake_cluster, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    code, *_ = fake_cluster('-n', 2, '-s', 1, '--hostfile', tmp_path / 'hosts', command=[
        *PLAIN, 'worker1=5', 'worker0=sleep', 'server0=sleep', 'scheduler=sleep'])
    assert code == 5
    launched = fake_cluster.start('-n', 1, '-s', 1, '--hostfile', tmp_path / 'hosts', command=[
        *PLAIN, 'worker0=sleep', 'server0=sleep', 'scheduler=sleep'])
    launched.wait_for('here', 3)
    launched.process.kill()
    launched.finish()


@slow  # test_membership.py tells workers of a signal
def test_a_signal_reaches_workers_at_the_other_end(fake_cluster, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    launched = fake_cluster.start('-n', 2, '-s', 1, '--hostfile', tmp_path / 'hosts',
                            command=[*WORKER, 'dist_sync', 'loop'])
    launched.wait_for('looping', 2)
    assert {address for pid in launched.processes() for address in listening(pid)} == {'127.0.0.1'}
    launched.process.send_signal(signal.SIGTERM)
    code, output, errors = launched.finish()
    assert code == 128 + signal.SIGTERM
    assert sum('checkpoint written' in line for line in output) == 2
    assert set(sentences(errors)) == {'worker 0', 'worker 1'}


@pytest.mark.parametrize('version, passing', [('mpirun (Open MPI) 4.1.4', '-x'),
                                              ('HYDRA build', '-genvlist')])
def test_mpi_starts_all_roles_and_passes_the_environment_on(fake_cluster, tmp_path, version, passing):
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    code, output, _, notes = fake_cluster('--cluster', 'mpi', '-n', 2, '-s', 1, '--hostfile',
                                          tmp_path / 'hosts', command=[*PLAIN, *WORDS], MPI=version)
    assert code == 0 and who_was_here(output) == EXPECTED
    for note in notes:
        arguments = note['arguments']
        own = arguments[:arguments.index(sys.executable)]
        assert own[2:4] == ['--hostfile', str(tmp_path / 'hosts')]
        names = ([name for flag, name in zip(own, own[1:]) if flag == '-x'] if passing == '-x'
                 else own[own.index('-genvlist') + 1].split(','))
        assert {'DMLC_ROLE', 'DMLC_PS_ROOT_URI', 'DMLC_PS_ROOT_PORT', 'DMLC_NUM_WORKER'} <= set(names)
        assert all(name in note['variables'] for name in names)


def test_slurm(fake_cluster):
    code, output, _, notes = fake_cluster('--cluster', 'slurm', '-n', 2, '-s', 1, command=[*PLAIN, *WORDS])
    assert code == 0 and who_was_here(output) == EXPECTED
    for note in notes:
        assert note['arguments'][:5] == ['--label', '--kill-on-bad-exit=1', '--export=ALL', '-n',
                                         {'server': '1', 'worker': '2'}[note['variables']['DMLC_ROLE']]]


def test_grid_engine(fake_cluster):
    code, output, _, notes = fake_cluster('--cluster', 'sge', '-n', 2, '-s', 1, '--env', "GREETING=it's me",
                                    command=[*PLAIN, *WORDS])
    assert code == 0
    assert who_was_here(output) == sorted(line.replace('worker1', 'worker2').replace('worker0', 'worker1')
                                          for line in EXPECTED)
    note, = notes
    assert note['arguments'] == ['-sync', 'y', '-cwd', '-S', '/bin/sh', '-N', 'openatac', '-t', '1-3']
    assert 'export GREETING=' + shlex.quote("it's me") in note['script']


def test_a_missing_program(tmp_path):
    code, _, errors = launch('--cluster', 'mpi', '-n', 1, '--host', '127.0.0.1', command=['true'])
    assert code == 1 and 'mpirun' in errors[-1] and '--cluster' in errors[-1]


def test_host_files(tmp_path):
    (tmp_path / 'hosts').write_text('a\n b:22 slots=4 \n#c\n')
    assert launchers.read_hosts(tmp_path / 'hosts') == [('a', None), ('b', '22')]


# -------------------------------------------------------------------------------- Kubernetes

def test_the_manifest_for_kubernetes():
    yaml = pytest.importorskip('yaml')
    with open(ROOT / 'examples' / 'kubernetes.yaml', encoding='utf-8') as handle:
        documents = list(yaml.safe_load_all(handle))
    kinds = [(document['kind'], document['metadata']['name']) for document in documents]
    assert kinds[:3] == [('ConfigMap', 'openatac'), ('Service', 'openatac-scheduler'),
                         ('NetworkPolicy', 'openatac')]
    jobs = {document['spec']['template']['metadata']['labels']['role']: document['spec']
            for document in documents[3:]}
    numbers = documents[0]['data']
    program, name, *flags = shlex.split(numbers['command'])
    assert (program, name) == ('openatac', 'train-imagenet')  # pip installs no other program
    train_imagenet.parser().parse_args(flags)
    assert jobs['worker']['completions'] == jobs['worker']['parallelism'] == int(numbers['DMLC_NUM_WORKER'])
    assert jobs['server']['completions'] == jobs['server']['parallelism'] == int(numbers['DMLC_NUM_SERVER'])
    for role, job in jobs.items():
        container, = job['template']['spec']['containers']
        environment = {entry['name']: entry.get('value') for entry in container['env']}
        assert environment['DMLC_ROLE'] == role and 'limits' in container['resources']
        assert container['securityContext']['allowPrivilegeEscalation'] is False
    validate = pytest.importorskip('kubernetes_validate.utils')
    for version in sorted(set(validate.all_versions())):
        for document in documents:
            validate.validate(document, version, strict=True)
