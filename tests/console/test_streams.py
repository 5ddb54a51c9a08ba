"""Every program copes with standard streams that are closed, full, unread or in another encoding."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from openatac.console import streams
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment

HELP = [(sys.executable, '-m', 'openatac', 'costs', '--help'),
        (sys.executable, ROOT / 'train_cifar.py', '--help')]
PLAN = (sys.executable, '-m', 'openatac', 'plan', '--gpus', '1', '--images-per-second', '1',
        '--parameters', '1')


def shell(line, *command, **environment):
    """Run a bash line in which "$@" is the command; return (exit code, output, errors) as text."""
    result = subprocess.run(
        ['bash', '-c', line, 'bash', *map(str, command)], capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL, env=child_environment(**environment))
    return result.returncode, result.stdout, result.stderr


def name_of(command):
    return ' '.join(str(word).rsplit('/', 1)[-1] for word in command[1:4])


@pytest.mark.parametrize('command', HELP, ids=name_of)
def test_help_to_a_full_disk_is_one_error_about_standard_output(command):
    code, _, errors = shell('"$@" > /dev/full', *command)
    assert code == 1
    assert 'output' in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize('command', [*HELP, PLAN], ids=name_of)
def test_closed_reader_ends_a_command_quietly(command):
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE,
                            timeout=300, env=child_environment())
    os.close(writing)
    assert (result.returncode, result.stderr) == (streams.CLOSED, b'')


def test_closed_pipe_ends_long_output_quietly():
    """Print more than the buffers hold, so that the pipe closes in the middle."""
    code = ('import sys\nfrom openatac.console import program\n'
            'def main():\n    for _ in range(10 ** 6): print("line")\n'
            'sys.exit(program.run_command(main, lambda *said: print(said, file=sys.stderr)))')
    code, output, errors = shell('{ "$@"; echo $? >&2; } | head -1', sys.executable, '-c', code)
    assert output == 'line\n' and errors == f'{streams.CLOSED}\n'


def test_csv_output_to_a_closed_pipe_ends_quietly():
    code = ('import sys\nimport numpy as np\nfrom openatac.console import program\n'
            'from openatac.evaluation.classification_report import ClassificationReport\n'
            'def main():\n    report = ClassificationReport(None, "/dev/stdout")\n'
            '    report.outcomes.add(np.eye(10)[np.zeros(20000, int)], np.zeros(20000))\n'
            '    report.write(list(map(str, range(20000))), [])\n'
            'sys.exit(program.run_command(main, lambda *said: print(said, file=sys.stderr)))')
    shown, output, errors = shell('{ "$@"; echo $? >&2; } | head -1', sys.executable, '-c', code)
    assert output.startswith('image,')
    assert errors == f'{streams.CLOSED}\n'
    assert shown == 0


def test_full_disk_for_output_and_errors_gives_an_exit_code():
    assert shell('"$@" > /dev/full 2> /dev/full', *PLAN)[0] == 1
    assert shell('"$@" 2> /dev/full', *PLAN, '--gpus', 'x')[0] == 2


@pytest.mark.parametrize('closing', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_commands_work_with_closed_streams(closing):
    code, output, errors = shell(f'"$@" {closing}', *PLAN)
    assert code == 0 and not errors
    assert bool(output) == (closing in ('<&-', '2>&-'))
    assert shell(f'"$@" {closing}', *PLAN, '--gpus', 'x')[0] == 2


def test_files_do_not_reuse_the_descriptor_of_a_closed_stream(tmp_path):
    code = ('import os, sys\nfrom openatac.console import program\n'
            'def main():\n    file = open(sys.argv[1], "w")\n    print("out")\n'
            '    print("err", file=sys.stderr)\n    os.write(1, b"low"); os.write(2, b"low")\n'
            '    file.write("%d %r" % (file.fileno(), sys.stdin.read()))\n'
            'sys.exit(program.run_command(main, print))')
    assert shell('"$@" <&- >&- 2>&-', sys.executable, '-c', code, tmp_path / 'file')[0] == 0
    number, read = (tmp_path / 'file').read_text().split()
    assert int(number) > 2 and read == "''"


def test_child_processes_get_standard_streams_too(tmp_path):
    code = ('import subprocess, sys\nfrom openatac.console import program\n'
            'child = "import os; [os.fstat(number) for number in range(3)]"\n'
            'def main(): return subprocess.run([sys.executable, "-c", child]).returncode\n'
            'sys.exit(program.run_command(main, print))')
    assert shell('"$@" <&- >&- 2>&-', sys.executable, '-c', code)[0] == 0


@pytest.fixture(scope='module')
def foreign_export(tmp_path_factory):
    """(an export with labels that are not ASCII, a folder with a good and a damaged image)."""
    from openatac.models.networks_by_name import get_model
    from openatac.trained.manifest import Manifest
    from tests.helpers.exports.exporting import export
    folder = tmp_path_factory.mktemp('exported')
    net = get_model('cifar_resnet8_v2_relu')
    net.initialize()
    export(net, str(folder / 'net'), Manifest(
        'cifar_resnet8_v2_relu', 10, (3, 32, 32), (0,) * 3, (1,) * 3, labels=['é\x1b[1m'] * 10))
    (folder / 'images').mkdir()
    Image.fromarray(np.zeros((32, 32, 3), 'uint8')).save(folder / 'images' / 'ü\x1b[2m.png')
    (folder / 'images' / 'bad.png').write_bytes(b'no image')
    return folder / 'net', folder / 'images'


def test_messages_stay_out_of_the_output_if_errors_are_closed(foreign_export):
    command = (sys.executable, '-m', 'openatac', 'predict', '--json', *foreign_export)
    code, output, _ = shell('"$@" 2>&-', *command)
    line, = map(json.loads, output.splitlines())
    assert code == 1 and line['image'].endswith('ü\x1b[2m.png')
    assert line['predictions'][0]['label'] == 'é\x1b[1m'


def test_unencodable_characters_are_escaped(foreign_export):
    command = (sys.executable, '-m', 'openatac', 'predict', *foreign_export, '--top', '1')
    code, output, errors = shell('"$@"', *command, PYTHONIOENCODING='ascii')
    assert code == 1
    assert 'bad.png' in errors and len(errors.splitlines()) == 1
    assert '\\xfc\\x1b[2m.png' in output and '\\xe9\\x1b[1m' in output


def test_training_works_without_streams(cifar10, tmp_path):
    command = (sys.executable, ROOT / 'train_cifar.py', '--data-dir', cifar10, '--blocks', '1',
               '--act-type', 'relu', '--num-epochs', '1', '--batch-size', '100', '--save-dir')
    assert shell('"$@" <&- >&- 2>&-', *command, tmp_path / 'closed')[0] == 0
    assert (tmp_path / 'closed' / 'summary.json').exists()
    assert 'accuracy' in (tmp_path / 'closed' / 'train.log').read_text()


def test_file_with_the_descriptor_of_a_closed_stream_releases_it():
    code = ('import sys\nfile = open("/dev/zero", "rb")\nassert file.fileno() == 1\n'
            'from openatac.console import program\n'
            'sys.exit(program.run_command(lambda: print("out"), print))')
    assert shell('"$@" >&-', sys.executable, '-c', code)[0] == 0
