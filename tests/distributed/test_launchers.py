"""`openatac launch` on simulated remote machines: ssh, MPI, Slurm, Grid Engine and Kubernetes."""
import json
import os
import re
import shlex
import signal
import sys

import pytest

import train_imagenet
from openatac.distributed.launch.clusters import read_hosts
from tests.helpers.paths import ROOT
from tests.helpers.processes.launched import PLAIN, WORKER, Launched, launch, listening_addresses, sentences

# A stand-in for ssh, mpirun, srun and qsub: records its arguments, and runs the command locally.
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
    # a new session with only these variables, as on another machine
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
    """A function that launches on a fake cluster, and also returns the arguments of the stand-ins."""
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


def test_ssh_launches_all_roles(fake_cluster, tmp_path):
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


def test_ssh_leaves_no_remote_processes(fake_cluster, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    code, *_ = fake_cluster('-n', 2, '-s', 1, '--hostfile', tmp_path / 'hosts', command=[
        *PLAIN, 'worker1=5', 'worker0=sleep', 'server0=sleep', 'scheduler=sleep'])
    assert code == 5
    launched = fake_cluster.start('-n', 1, '-s', 1, '--hostfile', tmp_path / 'hosts', command=[
        *PLAIN, 'worker0=sleep', 'server0=sleep', 'scheduler=sleep'])
    launched.wait_for('here', 3)
    launched.process.kill()
    launched.finish()


@pytest.mark.slow  # test_membership.py tests how workers learn of a signal
def test_signal_reaches_remote_workers(fake_cluster, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    launched = fake_cluster.start('-n', 2, '-s', 1, '--hostfile', tmp_path / 'hosts',
                                  command=[*WORKER, 'dist_sync', 'loop'])
    launched.wait_for('looping', 2)
    assert {address for pid in launched.processes() for address in listening_addresses(pid)} == {'127.0.0.1'}
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


def test_slurm_launches_all_roles(fake_cluster):
    code, output, _, notes = fake_cluster('--cluster', 'slurm', '-n', 2, '-s', 1, command=[*PLAIN, *WORDS])
    assert code == 0 and who_was_here(output) == EXPECTED
    for note in notes:
        assert note['arguments'][:5] == ['--label', '--kill-on-bad-exit=1', '--export=ALL', '-n',
                                         {'server': '1', 'worker': '2'}[note['variables']['DMLC_ROLE']]]


def test_grid_engine_launches_all_roles(fake_cluster):
    code, output, _, notes = fake_cluster('--cluster', 'sge', '-n', 2, '-s', 1, '--env', "GREETING=it's me",
                                          command=[*PLAIN, *WORDS])
    assert code == 0
    assert who_was_here(output) == sorted(line.replace('worker1', 'worker2').replace('worker0', 'worker1')
                                          for line in EXPECTED)
    note, = notes
    assert note['arguments'] == ['-sync', 'y', '-cwd', '-S', '/bin/sh', '-N', 'openatac', '-t', '1-3']
    assert 'export GREETING=' + shlex.quote("it's me") in note['script']


def test_missing_launcher_program_is_named(tmp_path):
    code, _, errors = launch('--cluster', 'mpi', '-n', 1, '--host', '127.0.0.1', command=['true'])
    assert code == 1
    assert 'mpirun' in errors[-1] and '--cluster' in errors[-1]


def test_host_files_are_parsed(tmp_path):
    (tmp_path / 'hosts').write_text('a\n b:22 slots=4 \n#c\n')
    assert read_hosts(tmp_path / 'hosts') == [('a', None), ('b', '22')]


# -------------------------------------------------------------------------------- Kubernetes

def test_kubernetes_manifest_starts_a_valid_run():
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
    assert (program, name) == ('openatac', 'train-imagenet')  # the only program that pip installs
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
