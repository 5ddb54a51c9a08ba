"""The membership protocol of a run, in real local processes without MXNet."""
import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from openatac.backends.process_group import SingleProcess
from openatac.distributed import ports
from openatac.distributed.kvstore import join_run
from openatac.distributed.member import check_gathered_size
from openatac.distributed.member_group import setting_differences
from openatac.distributed.messages import frame
from openatac.distributed.ports import keep_ports
from openatac.distributed.rendezvous import Rendezvous, read_rendezvous
from openatac.errors import OpenatacError
from tests.helpers.processes.child_environment import child_environment

# One process of a run. Arguments: its rendezvous as JSON, its rank, its actions once all have arrived.
PROCESS = '''
import json, os, sys, time
from openatac.errors import OpenatacError
from openatac.distributed.hub import Hub
from openatac.distributed.rendezvous import Rendezvous
from openatac.distributed.crash_exit import exit_process
from openatac.distributed.member import Member
rendezvous, rank, deeds = Rendezvous(**json.loads(sys.argv[1])), sys.argv[2], sys.argv[3:]
try:
    if rendezvous.role == 'scheduler':
        hub = Hub(rendezvous)
        hub.wait_for_all()
        print('complete', flush=True)
        hub.empty.wait()  # stands for MXNet's own loop
        hub.wait_until_empty()
        exit_process(None, 0)
    member = Member(rendezvous)
    member.wait_for_all()
except OpenatacError as error:
    exit_process(str(error))
if rendezvous.role == 'worker':
    member.send_rank(int(rank))
print('ready', flush=True)
for deed in deeds:
    if deed == 'gather':
        print(json.dumps(member.gather({'rank': int(rank), 'pi': 0.1, 'text': '\\u00e9'}, 'a message')))
    elif deed == 'large':
        print([len(text) for text in member.gather(rank * 500000, 'something large')])
    elif deed == 'fork':
        if os.fork() == 0:
            os.closerange(0, 3)
            time.sleep(60)
            os._exit(0)
    elif deed == 'fail':
        member.fail('the loss became\\nnan')
        exit_process('the loss became nan', 3)
    elif deed == 'stop':
        while not member.stop_signal:
            time.sleep(0.01)
        print('stop', member.stop_signal)
    elif deed == 'rank':
        member.send_rank(0)
    else:
        time.sleep(60)
member.leave()
'''


class Run:
    """The processes of one run; `end` kills those that are left."""

    def __init__(self):
        self.ports, self.processes = keep_ports('127.0.0.1', 2), []
        self.port = self.ports[0].getsockname()[1]

    def start(self, role, *deeds, rank=0, workers=2, servers=1, **fields):
        # MXNet's port is not used here; it only has to be free.
        rendezvous = dict(role=role, address='127.0.0.1', scheduler_port=self.port + 1, hub_port=self.port,
                          workers=workers, servers=servers, arrival_timeout=20, heartbeat_timeout=20,
                          failure_grace=0.2)
        process = subprocess.Popen(
            [sys.executable, '-u', '-c', PROCESS, json.dumps({**rendezvous, **fields}), str(rank), *deeds],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=child_environment())
        self.processes.append(process)
        return process

    def all(self, *deeds, workers=2, servers=1, **fields):
        """Start a whole run whose workers take these actions; return [scheduler, servers, workers]."""
        numbers = dict(workers=workers, servers=servers, **fields)
        hub = self.start('scheduler', **numbers)
        helpers = [self.start('server', *(['sleep'] if 'sleep' in deeds else []), **numbers)
                   for _ in range(servers)]
        return [hub, helpers, [self.start('worker', *deeds, rank=rank, **numbers) for rank in range(workers)]]

    def all_with_ranks(self, *deeds, **fields):
        """Do the same as `all`, and wait until the hub knows the workers' ranks."""
        hub, servers, workers = self.all(*deeds, 'gather', 'sleep', **fields)
        ready(hub, *servers, *workers)
        for worker in workers:
            assert 'rank' in worker.stdout.readline()
        return hub, servers, workers

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for port in self.ports:
            port.close()


@pytest.fixture
def run():
    run = Run()
    yield run
    run.end()


def ready(*processes):
    for process in processes:
        assert process.stdout.readline() in ('ready\n', 'complete\n'), process.stderr.read()


def ends(process, timeout=60):
    """Wait until a process ends by itself; return (exit code, standard output, standard error)."""
    output, errors = process.communicate(timeout=timeout)
    assert 'Traceback' not in errors and errors.count('error: ') <= 1, errors
    return process.returncode, output, errors


def all_say(processes, *words):
    """Check that each process ends with code 1 and one error that contains these words."""
    for process in processes:
        code, _, errors = ends(process)
        assert code == 1 and all(word in errors for word in words), errors


def test_messages_arrive_in_rank_order(run):
    hub, servers, workers = run.all('gather', 'large', 'gather', workers=3, servers=2)
    expected = [{'rank': rank, 'pi': 0.1, 'text': 'é'} for rank in range(3)]
    for worker in workers:
        code, output, errors = ends(worker)
        assert (code, errors) == (0, ''), errors
        lines = output.splitlines()
        assert json.loads(lines[1]) == json.loads(lines[3]) == expected
        assert lines[2] == '[500000, 500000, 500000]'
    assert [ends(process)[0] for process in [hub, *servers]] == [0, 0, 0]


@pytest.mark.parametrize('who, name', [('worker', 'worker 1 '), ('server', 'server '),
                                       ('scheduler', 'scheduler ')])
def test_killed_process_ends_the_run(run, who, name):
    hub, servers, workers = run.all_with_ranks()
    victim = {'worker': workers[1], 'server': servers[0], 'scheduler': hub}[who]
    victim.kill()
    all_say([process for process in run.processes if process is not victim], name, 'died', '--resume auto')


def test_children_of_a_killed_process_do_not_hide_its_death(run):
    hub, servers, workers = run.all_with_ranks('fork', heartbeat_timeout=30)
    workers[1].kill()
    all_say([hub, *servers, workers[0]], 'worker 1 ', 'died')


@pytest.mark.parametrize('who', ['worker', 'scheduler'])
def test_stopped_process_ends_the_run(run, who):
    hub, _, workers = run.all_with_ranks(heartbeat_timeout=5)
    victim = {'worker': workers[1], 'scheduler': hub}[who]
    victim.send_signal(signal.SIGSTOP)
    all_say([process for process in run.processes if process is not victim], ' 5 s')
    victim.send_signal(signal.SIGCONT)
    assert ends(victim)[0] == 1


def test_failure_is_reported_to_all_processes(run):
    hub, servers = run.start('scheduler'), [run.start('server', 'sleep')]
    workers = [run.start('worker', 'sleep'), run.start('worker', 'fail', rank=1)]
    code, _, errors = ends(workers[1])
    assert code == 3
    assert errors.count('\n') == 1 and 'nan' in errors
    all_say([hub, *servers, workers[0]], 'worker 1 on ', 'the loss became nan')


def test_unequal_numbers_of_steps_are_an_error(run):
    run.start('scheduler'), run.start('server', 'sleep')
    run.start('worker', 'gather', 'gather'), run.start('worker', 'gather', 'large', rank=1)
    all_say(run.processes, 'something large', 'a message')


def test_leaving_while_others_wait_is_an_error(run):
    run.start('scheduler'), run.start('server', 'sleep')
    run.start('worker', 'gather', 'gather'), run.start('worker', 'gather', rank=1)
    code = ends(run.processes[3])[0]
    assert code == 0
    all_say(run.processes[:3], 'worker 1 on ', 'a message')


def test_one_rank_for_two_workers_is_refused(run):
    run.start('scheduler'), run.start('server', 'sleep')
    run.start('worker', 'sleep'), run.start('worker', 'sleep', rank=0)
    all_say(run.processes, 'worker on ')


def test_missing_workers_are_counted(run):
    run.start('scheduler', arrival_timeout=5), run.start('server'), run.start('worker')
    all_say(run.processes, '1 of 2 workers', '1 of 1 servers', ' 5 s')


def test_different_numbers_of_workers_are_refused(run):
    run.start('scheduler'), run.start('server')
    ready_to_hear = run.start('worker', workers=3)
    all_say([run.processes[0], ready_to_hear], '3 workers and 1 servers', '2 workers and 1 servers')


def test_refusals_name_the_variables_of_pytorch(run):
    pytorch = dict(servers=0, scheduler_port=0, library='torch')
    hub = run.start('scheduler', **pytorch)  # stands for worker 0, in which PyTorch's hub runs
    all_say([run.start('worker', name='another', **pytorch)], f'worker 0 on 127.0.0.1, port {run.port} ',
            'MASTER_PORT')
    all_say([run.start('worker', workers=3, **pytorch), hub], '3 workers,', 'worker 0 for 2 workers:',
            'WORLD_SIZE')


def test_missing_scheduler_is_an_error(run):
    run.start('worker', arrival_timeout=0.5)
    run.start('worker', arrival_timeout=0.5, library='torch')
    for process, name in zip(run.processes, ('DMLC_PS_ROOT_URI', 'MASTER_ADDR')):
        all_say([process], f'127.0.0.1, port {run.port}', '0.5 s', name)


@pytest.mark.parametrize('offset', [0, 1])
def test_port_in_use_is_an_error(run, offset):
    with run.ports[offset] as other:
        other.listen()
        run.start('scheduler')
        all_say(run.processes, f'127.0.0.1, port {run.port + offset}')


def test_chosen_ports_stay_reserved_until_the_run_starts(run):
    """Others get neither port, by number or by chance; the run's own processes do."""
    for index in range(2):
        with socket.socket() as other, pytest.raises(OSError) as error:
            other.bind(('127.0.0.1', run.port + index))
        assert error.value.errno == errno.EADDRINUSE
    with contextlib.ExitStack() as others:
        for _ in range(200):
            other = others.enter_context(socket.socket())
            other.bind(('127.0.0.1', 0))
            assert other.getsockname()[1] not in (run.port, run.port + 1)
        for process in [run.start('scheduler', workers=1), run.start('server', workers=1),
                        run.start('worker', workers=1)]:
            ready(process)


def test_colliding_consecutive_ports_are_chosen_again(monkeypatch):
    """Another process takes the second port of the first choice at the last moment."""
    rivals = []

    def bind(address, port):
        if port and not rivals:
            rivals.append(original(address, port))
            rivals[0].listen()
        return original(address, port)

    original = ports.bind
    monkeypatch.setattr(ports, 'bind', bind)
    kept = keep_ports('127.0.0.1', 3)
    numbers = [port.getsockname()[1] for port in kept]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert len(rivals) == 1 and rivals[0].getsockname()[1] not in numbers
    for port in kept + rivals:
        port.close()


def test_foreign_connections_do_not_disturb_a_run(run):
    hub, servers, workers = run.all('sleep')
    ready(hub, *servers, *workers)
    address = ('127.0.0.1', run.port)
    hello = dict(kind='hello', role='worker', host='x', process=1, job='', workers=2, servers=1)
    for data in (b'GET / HTTP/1.0\r\n\r\n', b'\xff' * 100, b'\x00\x00\x00\x02[]', b'\x00\x00\x00\x05hello',
                 b'\x00\x00\x0f\xff' + b'[' * 4095, frame({'kind': 'hello'}),
                 frame({**hello, 'role': ['worker']}), b'\x80\x04\x95\x00'):
        with socket.create_connection(address, timeout=5) as stranger:
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            try:
                while stranger.recv(4096):
                    pass
            except ConnectionError:
                pass
    silent = socket.create_connection(address)
    late, other_run = run.start('worker'), run.start('worker', name='another')
    all_say([late], '2 workers and 1 servers')
    all_say([other_run], f'127.0.0.1, port {run.port + 1}', 'DMLC_PS_ROOT_PORT')
    assert all(process.poll() is None for process in [hub, *servers, *workers])
    silent.close()
    with socket.socket() as outside:  # it does not listen on other addresses of this machine either
        assert outside.connect_ex(('127.0.0.2', run.port)) != 0


# ------------------------------------------------------------------------ without processes

COMPLETE = {'DMLC_ROLE': 'worker', 'DMLC_PS_ROOT_URI': '127.0.0.1', 'DMLC_PS_ROOT_PORT': '9091',
            'DMLC_NUM_WORKER': '2', 'DMLC_NUM_SERVER': '1'}


def test_place_is_read_from_environment_variables():
    rendezvous = read_rendezvous(COMPLETE)
    assert rendezvous == Rendezvous('worker', '127.0.0.1', scheduler_port=9091, hub_port=9092, workers=2,
                                    servers=1)
    more = {'OPENATAC_MEMBERSHIP_PORT': '7', 'OPENATAC_MEMBERSHIP_SILENCE': '2.5',
            'OPENATAC_MEMBERSHIP_WAIT': '3', 'OPENATAC_MEMBERSHIP_NAME': 'x'}
    assert read_rendezvous({**COMPLETE, **more}) == rendezvous._replace(
        hub_port=7, name='x', arrival_timeout=3.0, heartbeat_timeout=2.5)
    assert read_rendezvous({**COMPLETE, 'DMLC_PS_ROOT_PORT': '65535'}).hub_port == 65534


@pytest.mark.parametrize('variable', COMPLETE)
@pytest.mark.parametrize('value', [None, '', '-1', 'many'])
def test_invalid_variables_are_refused(variable, value):
    if variable == 'DMLC_PS_ROOT_URI' and value:
        pytest.skip('any text may be a name')
    environment = {name: text for name, text in {**COMPLETE, variable: value}.items() if text is not None}
    with pytest.raises(OpenatacError, match=f'{variable} .*openatac launch'):
        read_rendezvous(environment)


def test_kvstore_names_are_checked(monkeypatch):
    for name in ('horovod', 'byteps', 'nccl', 'dist', 'p3', ''):
        with pytest.raises(OpenatacError, match=f'{name!r}.*dist_sync'):
            join_run(name)
    alone = join_run('device')
    assert isinstance(alone, SingleProcess) and (alone.rank, alone.size, alone.kvstore) == (0, 1, 'device')
    assert alone.gather({'a': 1}) == [{'a': 1}]
    assert alone.check_alike({}) is alone.close() is None
    monkeypatch.delenv('DMLC_ROLE', raising=False)
    with pytest.raises(OpenatacError, match='DMLC_ROLE .*openatac launch'):
        join_run('dist_sync')
    monkeypatch.setenv('DMLC_ROLE', 'server')
    with pytest.raises(OpenatacError, match="server .*'device'"):
        join_run('device')


def test_differences_are_named():
    line, = setting_differences([{'lr': 0.1, 'seed': 1}, {'seed': 1}, {'lr': 1, 'seed': 1}])
    assert re.search(r'^lr .*0\.1 .*worker 0.*worker 1.* 1 .*worker 2', line)


def test_oversized_message_is_refused():
    check_gathered_size('x' * (31 << 20), 'it', workers=2)
    with pytest.raises(ValueError, match='64 MB'):
        check_gathered_size('x' * (33 << 20), 'it', workers=2)
