"""train_imagenet.py with --engine torch gives the results of MXNet's engine, with and without MXNet."""
import os
import re

import numpy as np
import pytest

import train_imagenet
from openatac.backends.teacher import Teacher
from openatac.files.mxnet_arrays import read_params
from tests.helpers.networks.imagenet_hosts import teacher_flags
from tests.helpers.processes.scripts import (
    assert_metrics_agree,
    metrics_of,
    run_in_process,
    run_script,
    script_error,
    without_numbers,
)

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread', 'shallow_resnet')

TORCH = '--engine', 'torch'

PHOTOS = ('--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 4, '--seed', 1, '-j', 0,
          '--lr', 1e-5, '--num-epochs', 2, '--log-interval', 2, '--save-frequency', 1)
RECIPE = '--last-gamma', '--no-wd', '--label-smoothing'


def photo_flags(folder, data, *more):
    return ('--data-dir', data, *PHOTOS, *RECIPE, '--save-dir', folder, '--logging-file', folder + '.log',
            *more)


def imagenet(folder, data, *more):
    """Train in this process; return the folder."""
    folder = str(folder)
    assert run_in_process(*photo_flags(folder, data, *more), script=train_imagenet) == 0
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory, photos):
    """{engine: folder of a run of two epochs}."""
    return {engine: imagenet(tmp_path_factory.mktemp('imagenet') / engine, photos, '--engine', engine)
            for engine in ('mxnet', 'torch')}


def published_log(folder):
    """Return the log lines in the published format, without their numbers."""
    with open(folder + '.log', encoding='utf-8') as handle:
        return [without_numbers(line) for line in handle if 'Epoch' in line]


def test_run_on_photographs_matches_metrics_log_and_files_of_mxnet(runs):
    for row, expected in zip(metrics_of(runs['torch']), metrics_of(runs['mxnet'])):
        assert_metrics_agree(row, expected)
    assert published_log(runs['torch']) == published_log(runs['mxnet'])
    assert len(published_log(runs['torch'])) == 8       # one line within each epoch, three after it
    assert sorted(os.listdir(runs['torch'])) == sorted(os.listdir(runs['mxnet']))


@pytest.mark.parametrize('maker, engine', [('mxnet', 'torch'), ('torch', 'mxnet')])
def test_published_resume_flags_accept_files_of_the_other_engine(runs, photos, tmp_path, maker, engine):
    stem = os.path.join(runs[maker], 'imagenet-resnet50_v1b_atac-0')
    folder = imagenet(tmp_path / 'run', photos, '--engine', engine, '--save-frequency', 0,
                      '--resume-epoch', 1, '--resume-params', stem + '.params',
                      '--resume-states', stem + '.states')
    row, = metrics_of(folder)
    assert_metrics_agree(row, metrics_of(runs[maker])[1])


def test_file_without_optimizer_states_is_refused(runs, photos, tmp_path, capsys):
    params = os.path.join(runs['mxnet'], 'last.params')
    wrong = photo_flags(str(tmp_path / 'run'), photos, *TORCH, '--resume-states', params)
    assert params in script_error(capsys, 1, *wrong, script=train_imagenet)


def test_both_engines_report_the_same_errors(runs, photos, capsys):
    found = []
    for engine in ('mxnet', 'torch'):
        assert run_in_process('--data-dir', photos, *PHOTOS, '--engine', engine, '--evaluate',
                              os.path.join(runs['torch'], 'last.params'), script=train_imagenet) == 0
        found.append(re.search(r'err-top1=.* err-top5=[\d.]+', capsys.readouterr().err)[0])
    assert found[0] == found[1]
    assert f"err-top1={1 - metrics_of(runs['torch'])[-1]['val_accuracy']:f}" in found[0]


def test_mixup_and_teacher_give_the_metrics_of_mxnet(photos, tmp_path):
    more = ('--mixup', *teacher_flags(tmp_path / 'teacher.params'), '--num-epochs', 1,
            '--save-frequency', 0)
    rows = [metrics_of(imagenet(tmp_path / engine, photos, *more, '--engine', engine))[0]
            for engine in ('torch', 'mxnet')]
    assert 0 < rows[0]['train_rmse'] < 1
    assert_metrics_agree(*rows)


def test_teacher_is_compatible_with_bfloat16(photos, tmp_path):
    folder = imagenet(tmp_path / 'run', photos, *TORCH, '--dtype', 'bfloat16',
                      *teacher_flags(tmp_path / 'teacher.params'), '--dry-run', 1)
    assert os.listdir(folder) == []


def test_run_on_photographs_without_mxnet_is_the_same_to_the_bit(runs, photos, tmp_path, no_mxnet):
    prefix, folder = str(tmp_path / 'start'), str(tmp_path / 'run')
    these = photo_flags(folder, photos, *TORCH)
    assert run_in_process(*these, '--write-initial', prefix, script=train_imagenet) == 0
    result = run_script(*these, '--initial', prefix, '-j', 1, script='train_imagenet.py', path=no_mxnet)
    assert result.returncode == 0, result.stderr
    ours, theirs = (read_params(os.path.join(where, 'last.params')) for where in (folder, runs['torch']))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_photographs_without_a_gpu_get_the_command_for_the_cpu(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = script_error(capsys, 1, *photo_flags('run', photos, *TORCH, '--num-gpus', 1),
                         script=train_imagenet)
    assert 'GPU 0' in error
    command = error.split('train_imagenet.py ')[-1].split()
    args = train_imagenet.parser().parse_args(command)
    assert (args.engine, args.num_gpus, args.dtype) == ('torch', 0, 'float32')


def test_bundled_teachers_have_weights():
    bundled = Teacher('cifar_resnet8_v2_atac', None, 10).with_bundled_file()
    assert os.path.isfile(bundled.params)
    assert bundled._replace(params='x').with_bundled_file().params == 'x'
    assert Teacher('resnet50_v1', None, 10).with_bundled_file().params is None
