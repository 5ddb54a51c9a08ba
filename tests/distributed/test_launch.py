"""`openatac launch`, and runs of several local processes with MXNet's parameter server."""
import concurrent.futures
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from openatac.distributed.launch.processes import Child, ChildProcesses
from openatac.distributed.parameter_server import describe_optimizer, make_optimizer
from openatac.system.guard import Guard
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.launched import PLAIN, WORKER, Launched, launch, sentences

# ---------------------------------------------------------------------- with MXNet's kvstore


def killer(role):
    """Return a function that kills the process of a role once both workers are blocked inside MXNet."""
    def kill(launched):
        launched.wait_for('stuck', 2)
        pid, = (pid for pid in launched.processes() if is_last(role, environment_of(pid)))
        os.kill(pid, signal.SIGKILL)
    return kill


def environment_of(pid):
    return Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')


def is_last(role, variables):
    """Return whether these are the variables of the role's last process in a run of two workers."""
    return b'DMLC_ROLE=' + role.encode() in variables and (role != 'worker' or b'DMLC_TASK_ID=1' in variables)


# The workers' actions, and the test's meanwhile. Each run takes seconds and ends in a failure.
CASES = {
    'sync': ('dist_sync add_up gather alike train crash', None),
    'async': ('dist_async train mismatch', None),
}
# test_membership.py and test_cluster_training.py cover similar cases.
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
    """Return {case: (exit code, output, errors)}; several cases run at once, as each waits for seconds."""
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
    """Return the lines of a worker, without label and rank."""
    label = f'[worker {worker}] {worker} '
    return [line[len(label):] for line in output if line.startswith(label)]


def test_two_workers_sum_values_and_exchange_messages(runs):
    output = runs['sync'][1]
    for rank in range(2):
        assert said_by(rank, output) == [
            'sums [3.0, 6.0, 9.0]', "gathered [0, 1] True [{'0'}, {'1'}] [300000, 300000]", 'alike',
            'weight [0.92625]', 'bias [1.0]']  # 0.95 * 0.975; biases do not decay


@slow
def test_two_workers_sum_values_on_their_devices(slow_runs):
    code, output, errors = slow_runs['device']
    assert (code, errors) == (0, [])
    assert [said_by(rank, output) for rank in range(2)] == [['sums [3.0, 6.0, 9.0]']] * 2


def test_updating_servers_follow_rate_and_decay_without_pickles(runs):
    # Each worker's push is its own step: 0.95^2 * 0.975^2.
    assert [said_by(rank, runs['async'][1]) for rank in range(2)] == [['weight [0.857939]', 'bias [1.0]']] * 2


def test_every_process_reports_the_settings_in_which_workers_differ(runs):
    code, _, errors = runs['async']
    assert code == 1
    said = sentences(errors)
    assert sorted(said) == ['scheduler', 'server 0', 'worker 0', 'worker 1']
    for worker in ('worker 0', 'worker 1'):
        assert re.search(r'\blr .*0\.1 .*worker 0.* 0\.2 .*worker 1', said[worker])
        assert re.search('only0 .*True .*worker 0.* worker 1', said[worker])
        assert 'seed' not in said[worker]


def check_failure(result, cause, own=None):
    """Check that all others name the cause of worker 1's failure, and that worker 1 itself prints ``own``."""
    code, _, errors = result
    assert code == 1
    said = sentences(errors)
    for other in ('worker 0', 'server 0', 'scheduler'):
        assert re.match(r'worker 1 on .* \(process \d+\) ', said[other]) and cause in said[other]
    assert said.get('worker 1') == own


def test_bug_in_one_worker_ends_the_run(runs):
    check_failure(runs['sync'], 'RuntimeError: a bug')
    assert '[worker 1] RuntimeError: a bug' in runs['sync'][2]


@slow
def test_failure_of_one_worker_ends_the_run(slow_runs):
    check_failure(slow_runs['sentence'], 'the loss became nan', 'the loss became nan')
    check_failure(slow_runs['leave'], '')
    code, _, errors = slow_runs['unequal']
    assert code == 1 and len(sentences(errors)) == 4


@slow
@pytest.mark.parametrize('case, who', [
    ('killed worker', 'worker 1 '), ('killed server', 'server '), ('killed scheduler', 'scheduler ')])
def test_killed_process_ends_the_run_even_inside_mxnet(slow_runs, case, who):
    code, _, errors = slow_runs[case]
    assert code == 128 + signal.SIGKILL
    said = sentences(errors)
    assert len(said) == 3
    assert all(who in line and '--resume auto' in line for line in said.values()), said


def test_optimizer_roundtrips_through_json():
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

def test_output_lines_are_labelled_and_arguments_passed_on():
    words = ['a b', "it's", '$HOME', '"', '*']
    code, output, errors = launch('-n', 2, '-s', 1, '--env', 'A=b c', command=[*PLAIN, *words])
    assert code == 0
    said = ' '.join(words)
    assert sorted(output) == ['[scheduler] here scheduler ' + said, '[server 0] here server0 ' + said,
                              '[worker 0] here worker0 ' + said, '[worker 1] here worker1 ' + said]
    assert sorted(errors) == [f'[{who}] no newline'
                              for who in ('scheduler', 'server 0', 'worker 0', 'worker 1')]


@pytest.mark.parametrize('deed, expected', [pytest.param('7', 7, marks=pytest.mark.slow), ('suicide', 137)])
def test_first_failure_ends_the_run_and_sets_the_exit_code(deed, expected):
    code, _, errors = launch('-n', 2, '-s', 1, command=[
        *PLAIN, 'worker1=' + deed, 'worker0=child', 'server0=stubborn', 'scheduler=sleep'])
    assert code == expected
    assert any(re.search(rf'worker 1 .*\b{expected}\b', line) for line in errors)


def test_servers_without_work_do_not_keep_the_run_alive():
    assert launch('-n', 1, command=[*PLAIN, 'server0=sleep', 'scheduler=sleep'])[0] == 0


def launch_saving(seconds):
    """Launch a run whose worker 0 saves for that long when asked to stop; return it when all have started."""
    launched = Launched('-n', 2, '-s', 1, command=[
        *PLAIN, f'worker0=save{seconds}', 'worker1=sleep', 'server0=sleep', 'scheduler=sleep'])
    launched.wait_for('here', 5)
    return launched


@pytest.mark.parametrize('number', [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_signal_waits_for_the_checkpoint(number):
    launched = launch_saving(0.3)
    launched.process.send_signal(number)
    code, output, _ = launched.finish()
    assert code == 128 + number and '[worker 0] saved' in output


@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_second_signal_does_not_wait_for_the_checkpoint(number):
    launched = launch_saving(300)
    launched.process.send_signal(number)
    launched.wait_for('saving')
    launched.process.send_signal(number)
    assert launched.finish()[0] == 128 + number


def test_killed_launcher_leaves_no_processes():
    launched = Launched('-n', 2, '-s', 1, command=[
        'sh', '-c', shlex.join([*PLAIN, 'worker0=child', 'worker1=stubborn', 'server0=sleep',
                                'scheduler=sleep']) + '; true'])
    launched.wait_for('here', 4)
    launched.process.kill()
    assert launched.finish()[0] == -signal.SIGKILL


@pytest.mark.parametrize('arguments, text', [
    (['-n', '0'], '--workers: 0'),
    (['-n', '1', '--cluster', 'ssh'], '--hostfile: ssh'),
    (['-n', '1', '--cluster', 'slurm', '--hostfile', 'x'], '--hostfile: .*ssh'),
    (['-n', '1', '--cluster', 'yarn'], "'yarn'"),
    (['-n', '2', '--port', '65533'], '65532'),
    (['-n', '1', '--env', '1=2'], "'1=2' .*NAME=VALUE"),
    (['-n', '1', '--env', 'NOT_SET_HERE'], 'NOT_SET_HERE'),
])
def test_invalid_command_lines_are_refused(arguments, text):
    code, _, errors = launch(*arguments, command=['true'])
    assert code == 2 and re.search(text, errors[-1]), errors


def test_unusable_hosts_and_commands_are_named(tmp_path):
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


def test_system_without_fork_is_refused(monkeypatch, capsys):
    monkeypatch.delattr(os, 'fork')
    assert 'fork' in command_error(capsys, 'launch', 1, '-n', 1, '--', 'true')


def test_ended_process_group_is_not_signalled_later():
    """Its id may by then belong to another process. A group with living children is still signalled."""
    told = []
    guard = SimpleNamespace(add=told.append, remove=lambda number: told.append(-number))
    group = ChildProcesses(guard, 'a test', 5.0)
    gone = group.start(Child('worker', 0), [sys.executable, '-S', '-c', ''], {})
    orphans = group.start(Child('worker', 1), ['sh', '-c', 'sleep 300 > /dev/null 2>&1 &'], {})
    assert group.wait() == 0
    group.end()
    assert sorted(told) == sorted([gone.pid, -gone.pid, orphans.pid])


def test_end_of_a_process_is_noticed_without_the_guard():
    guard = Guard()
    os.kill(guard.pid, signal.SIGKILL)
    os.waitpid(guard.pid, 0)
    group = ChildProcesses(guard, 'a test', 5.0)
    group.start(Child('worker', 0), [sys.executable, '-S', '-c', 'raise SystemExit(3)'], {})
    assert group.wait() == 3
    group.end()
