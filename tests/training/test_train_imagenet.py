"""train_imagenet.py as a user runs it, on made-up photographs: its log, its files, and resuming."""
import math
import os
import re
import signal

import mxnet as mx
import numpy as np
import pytest

import train_imagenet
from openatac import cli
from openatac.backends.process_group import SingleProcess
from openatac.export.exported_symbol import load_block
from openatac.training.networks.build import BuiltNetwork
from openatac.training.runs.imagenet import ImagenetRun
from openatac.training.schedule import warmup_schedule
from tests.helpers.networks.imagenet_hosts import shallow_host
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.processes.imagenet_runs import RECIPE, flags, parameters, record_flags, train
from tests.helpers.processes.interrupted_runs import signal_at_step
from tests.helpers.processes.scripts import (
    config_of,
    finish,
    json_of,
    metrics_of,
    run_in_process,
    run_script,
    script_error,
    start_script,
    wait_until,
)

pytestmark = pytest.mark.usefixtures('shallow_resnet')


def assert_same_run(ours, theirs, skip=('images_per_second',)):
    """Assert that both folders contain the same parameters, to the bit, and the same metrics."""
    one, other = parameters(ours), parameters(theirs)
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name] == other[name]).all(), name
    for row, expected in zip(metrics_of(ours), metrics_of(theirs)):
        assert {key: value for key, value in row.items() if key not in skip} == {
            key: value for key, value in expected.items() if key not in skip}
    assert len(metrics_of(ours)) == len(metrics_of(theirs))


@pytest.fixture(scope='module')
def whole(tmp_path_factory, photos):
    """The folder of an uninterrupted run of two epochs of three batches, with its export."""
    folder = tmp_path_factory.mktemp('whole')
    return train(folder / 'run', photos, *RECIPE, '--log-interval', 2, '--save-frequency', 1,
                 '--export', folder / 'export' / 'net')


# ----------------------------------------------------------------- log and files of a run

def test_log_has_the_published_format(whole):
    """The lines are GluonCV's; batches count from 0, and the learning rates follow the schedule."""
    with open(whole + '.log', encoding='utf-8') as handle:
        lines = handle.read().splitlines()
    inside = [re.fullmatch(r'Epoch\[(\d+)\] Batch \[(\d+)\]\tSpeed: [\d.]+ samples/sec\taccuracy=([\d.]+)\t'
                           r'lr=([\d.]+)', line) for line in lines]
    found = [(int(m[1]), int(m[2]), float(m[4])) for m in inside if m]
    schedule = warmup_schedule('cosine', 0.02, 2, 3, warmup_epochs=1)
    assert found == [(epoch, 1, round(schedule(3 * epoch + 1), 6)) for epoch in range(2)]
    epochs = [line for line in lines if line.startswith('[Epoch 1]')]
    assert re.fullmatch(r'\[Epoch 1\] training: accuracy=[\d.]+', epochs[0])
    assert re.fullmatch(r'\[Epoch 1\] speed: \d+ samples/sec\ttime cost: [\d.]+', epochs[1])
    assert re.fullmatch(r'\[Epoch 1\] validation: err-top1=[\d.]+ err-top5=0.000000', epochs[2])


def test_run_writes_its_files(whole):
    names = set(os.listdir(whole))
    assert {'best.params', 'last.params', 'metrics.csv', 'metrics.jsonl', 'summary.json', 'settings.json',
            'history.png', 'checkpoints', 'imagenet-resnet50_v1b_atac-0.params',
            'imagenet-resnet50_v1b_atac-1.states'} <= names
    summary, row = json_of(whole, 'summary.json'), metrics_of(whole)[-1]
    assert summary['model'] == 'resnet50_v1b_atac' and summary['epochs'] == 2
    assert row['val_top5_accuracy'] == 1 and math.isfinite(row['val_loss']) and row['iteration'] == 6
    net = shallow_host().gluon(classes=2)
    assert list(parameters(whole)) == list(parameters_of(net))


def test_best_network_is_exported(whole):
    net = shallow_host().gluon(classes=2)
    net.load_parameters(os.path.join(whole, 'best.params'))
    images = mx.nd.random.normal(shape=(2, 3, 32, 32))
    exported = load_block(os.path.join(os.path.dirname(whole), 'export', 'net'))(images).asnumpy()
    assert exported == pytest.approx(net(images).asnumpy(), rel=1e-4, abs=1e-5)


def test_no_wd_exempts_biases_gammas_and_betas(photos, tmp_path):
    """With weight decay as the only update, they keep their initial values while the weights shrink."""
    folder = train(tmp_path / 'run', photos, '--no-wd', '--wd', 1e5, '--lr', 1e-7, '--num-epochs', 1)
    net = initialised(shallow_host().gluon(classes=2), seed=1)
    for name, array in parameters(folder).items():
        if name.endswith(('gamma', 'beta', 'bias')):
            assert np.abs(array - (1 if name.endswith('gamma') else 0)).max() < 5e-3, name
        elif name.endswith('weight'):
            before = parameters_of(net)[name].data().asnumpy()
            assert np.abs(array).sum() < 0.97 * np.abs(before).sum(), name


def test_record_files_and_folders_give_the_same_run(whole, records, tmp_path):
    folder = train(tmp_path / 'run', 'nowhere', *RECIPE, *record_flags(records), '-j', 2)
    assert_same_run(folder, whole)


@pytest.mark.parametrize('given, name', [
    ([], 'ImageNet'), (['--use-rec', '--rec-train', 'own/train.rec'], 'ImageNet'),
    (['--num-classes', 2, '--data-dir', 'own/flowers/'], 'flowers'),
    (['--num-classes', 2, '--use-rec', '--rec-train', 'own/packed/train.rec'], 'packed')])
def test_title_of_the_figure_names_the_images(given, name):
    built = BuiltNetwork(None, 'atac', config_of(train_imagenet, *given))
    assert ImagenetRun(built, '', SingleProcess()).images_name == name


# ------------------------------------------------------------------------------- resuming

def test_stopped_run_resumes_to_the_same_bits(whole, photos, tmp_path, monkeypatch):
    these = flags(str(tmp_path / 'run'), photos, *RECIPE, '--resume', 'auto')
    signal_at_step(monkeypatch, 4, signal.SIGTERM)
    assert run_in_process(*these, script=train_imagenet) == 128 + signal.SIGTERM
    assert (tmp_path / 'run' / 'checkpoints' / f'{5:010d}').is_dir()  # within the second epoch
    assert run_in_process(*these, script=train_imagenet) == 0
    assert_same_run(str(tmp_path / 'run'), whole)


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_bits(photos, tmp_path):
    """Kill the whole ResNet-50; test_resume.py kills a run more often, test_photo_batches.py its workers."""
    whole, killed = (flags(str(tmp_path / name), photos, *RECIPE, '--resume', 'auto', '-j', 1)
                     for name in ('whole', 'killed'))
    process = start_script(*killed, script='train_imagenet.py')
    wait_until(lambda: (tmp_path / 'killed' / 'checkpoints' / f'{3:010d}').is_dir(), 'a checkpoint', process)
    process.kill()
    assert finish(process).returncode == -signal.SIGKILL
    for these in (whole, killed):
        assert run_script(*these, script='train_imagenet.py').returncode == 0
    assert_same_run(str(tmp_path / 'killed'), str(tmp_path / 'whole'))


def test_published_resume_flags_resume_to_the_same_bits(whole, photos, tmp_path):
    stem = os.path.join(whole, 'imagenet-resnet50_v1b_atac-0')
    folder = train(tmp_path / 'run', photos, *RECIPE, '--resume-epoch', 1,
                   '--resume-params', stem + '.params', '--resume-states', stem + '.states')
    ours = parameters(folder)
    for name, array in parameters(whole).items():
        assert (ours[name] == array).all(), name
    assert [row['epoch'] for row in metrics_of(folder)] == [1]


def test_run_is_not_resumed_with_another_recipe(whole, photos, capsys):
    error = script_error(capsys, 1, *flags(whole, photos, *RECIPE, '--resume', 'auto', '--mixup'),
                         script=train_imagenet)
    assert all(word in error for word in ('mixup', 'False', 'True', '--save-dir'))


# -------------------------------------------------------------------------- the rehearsal

@pytest.mark.usefixtures('small_network')
def test_dry_run_times_every_part_and_leaves_nothing(photos, tmp_path, capsys):
    folder = str(tmp_path / 'run')
    assert run_in_process(*flags(folder, photos, *RECIPE, '--dry-run', 3), script=train_imagenet) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split('  ')[0] for line in table[1:-1]] == [
        'read', 'first batch', 'warm-up', 'train', 'validate', 'checkpoint', 'resume']
    assert all(re.search(r'\d MB$', line) for line in table[1:-1])
    assert not [name for name in os.listdir(folder) if name != 'train.log']


@pytest.mark.slow
def test_memory_stays_flat_over_a_thousand_iterations(photos, tmp_path, capsys):
    assert run_in_process(*flags(str(tmp_path / 'run'), photos, *RECIPE, '--dry-run', 1000),
                          script=train_imagenet) == 0
    memory = {line.split('  ')[0]: float(line.split()[-2])
              for line in capsys.readouterr().out.splitlines() if line.endswith(' MB')}
    assert memory['train'] < 1.03 * memory['warm-up'] + 10


# ----------------------------------------------------------------------- real photographs

def test_network_learns_from_packed_real_photographs(shared_data, tmp_path):
    """Train on 8 ImageNet photographs, 8 copies of each; chance would be 1 in 8."""
    sample = shared_data / 'imagenet_sample'
    for place in sorted(sample.iterdir())[:8]:
        photo = next(place.iterdir())
        for split, copies in (('train', 8), ('val', 1)):
            folder = tmp_path / split / place.name
            folder.mkdir(parents=True)
            for copy in range(copies):
                (folder / f'{copy:02d}.JPEG').symlink_to(photo.resolve())
    for split in ('train', 'val'):
        assert cli.main(['pack', str(tmp_path / split), str(tmp_path / split), '--resize', '40']) == 0
        assert cli.main(['pack', '--check', str(tmp_path / split) + '.rec']) == 0
    folder = train(tmp_path / 'run', 'nowhere', '--num-classes', 8, '--batch-size', 8, '--last-gamma',
                   '--lr', 0.005, '--lr-mode', 'cosine', '--num-epochs', 3, '-j', 1, '--save-frequency', 0,
                   *record_flags(str(tmp_path)))
    first, *_, last = metrics_of(folder)
    assert last['train_loss'] < first['train_loss']
    assert last['val_top5_accuracy'] >= last['val_accuracy'] >= 0.25
