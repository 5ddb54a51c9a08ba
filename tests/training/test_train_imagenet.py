"""train_imagenet.py as a user runs it, on made-up photographs: its log, its files, and resuming."""
import math
import os
import re
import shutil
import signal

import mxnet as mx
import numpy as np
import pytest

import openatac
import train_imagenet
from openatac import cli
from openatac.commands.shared.training_flags import parse
from openatac.errors import OpenatacError
from openatac.export.forms.symbol_files import load_block
from openatac.options.declaration import values
from openatac.training.config import ImagenetConfig
from openatac.training.recipes import IMAGENET
from openatac.training.schedule import warmup_schedule
from tests.helpers.images.made_up_images import write_data_dir, write_photos
from tests.helpers.networks.imagenet_hosts import (
    shallow_host,
    shallow_resnet,  # noqa: F401  (a fixture)
    small_network,  # noqa: F401  (a fixture)
    teacher_flags,
)
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.interrupted_runs import signal_at_step
from tests.helpers.processes.scripts import (
    config_of,
    error_line,
    finish,
    json_of,
    log_of,
    metrics_of,
    run_in_process,
    run_script,
    script_error,
    start_script,
    wait_until,
)

pytestmark = pytest.mark.usefixtures('shallow_resnet')
SCRIPT = 'train_imagenet.py'
SMALL = ('--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 4, '--seed', 1, '-j', 0,
         '--lr', 0.02)
RECIPE = ('--last-gamma', '--no-wd', '--label-smoothing', '--lr-mode', 'cosine', '--warmup-epochs', 1,
          '--num-epochs', 2)
PUBLISHED = [
    '--mode', 'hybrid', '--lr', '0.075', '--lr-mode', 'cosine', '--num-epochs', '160', '--batch-size',
    '128', '--num-gpus', '2', '-j', '48', '--warmup-epochs', '5', '--dtype', 'float16', '--use-rec',
    '--last-gamma', '--no-wd', '--label-smoothing', '--save-dir', 'params_resnet50_v1b_ChaATAC_2',
    '--logging-file', 'resnet50_v1b_ChaATAC_2.log', '--r', '2', '--act-layers', '2',
]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A --data-dir with 12 training and 6 validation photographs in 2 classes."""
    return write_data_dir(tmp_path_factory.mktemp('photos'))


def flags(folder, photos, *more):
    return ('--data-dir', photos, *SMALL, '--save-dir', folder, '--logging-file', folder + '.log', *more)


def train(folder, photos, *more):
    """Train in this process, and return the folder."""
    folder = str(folder)
    assert run_in_process(*flags(folder, photos, *more), script=train_imagenet) == 0
    return folder


def parameters(folder, name='last.params'):
    return {key: value.asnumpy() for key, value in mx.nd.load(os.path.join(folder, name)).items()}


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
def records(photos, tmp_path_factory):
    """The folder of train.rec and val.rec with the same photographs."""
    folder = tmp_path_factory.mktemp('records')
    for split in ('train', 'val'):
        assert cli.main(['pack', os.path.join(photos, split), str(folder / split)]) == 0
    return str(folder)


def record_flags(records, **other):
    names = {'rec_train': 'train.rec', 'rec_val': 'val.rec', **other}
    return ['--use-rec'] + [word for flag, name in names.items()
                            for word in ('--' + flag.replace('_', '-'), os.path.join(records, name))]


@pytest.fixture(scope='module')
def whole(tmp_path_factory, photos):
    """The folder of an uninterrupted run of two epochs of three batches, with its export."""
    folder = tmp_path_factory.mktemp('whole')
    return train(folder / 'run', photos, *RECIPE, '--log-interval', 2, '--save-frequency', 1,
                 '--export', folder / 'export' / 'net')


# ------------------------------------------------------------------------------ log and files of a run

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
    mx.random.seed(1)
    net = shallow_host().gluon(classes=2)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    for name, array in parameters(folder).items():
        if name.endswith(('gamma', 'beta', 'bias')):
            assert np.abs(array - (1 if name.endswith('gamma') else 0)).max() < 5e-3, name
        elif name.endswith('weight'):
            before = parameters_of(net)[name].data().asnumpy()
            assert np.abs(values).sum() < 0.97 * np.abs(before).sum(), name


def test_record_files_and_folders_give_the_same_run(whole, records, tmp_path):
    folder = train(tmp_path / 'run', 'nowhere', *RECIPE, *record_flags(records), '-j', 2)
    assert_same_run(folder, whole)


# -------------------------------------------------------------------------------------- resuming

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
    process = start_script(*killed, script=SCRIPT)
    wait_until(process, lambda: (tmp_path / 'killed' / 'checkpoints' / f'{3:010d}').is_dir(), 'a checkpoint')
    process.kill()
    assert finish(process).returncode == -signal.SIGKILL
    for these in (whole, killed):
        assert run_script(*these, script=SCRIPT).returncode == 0
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
    code = run_in_process(*flags(whole, photos, *RECIPE, '--resume', 'auto', '--mixup'),
                          script=train_imagenet)
    error = error_line(code, capsys.readouterr().err)
    assert all(word in error for word in ('mixup', 'False', 'True', '--save-dir'))


# ------------------------------------------------------------------------------------ the variants

def test_mixup_teacher_and_group_norm_work_together(photos, tmp_path):
    folder = train(tmp_path / 'run', photos, '--mixup', '--mixup-off-epoch', 1, '--label-smoothing',
                   '--use-gn', *teacher_flags(tmp_path / 'teacher.params'),
                   '--num-epochs', 2, '--log-interval', 1, '--act-layers', 1)
    rows = metrics_of(folder)
    assert all(0 < row['train_rmse'] < 1 for row in rows) and 'train_accuracy' not in rows[0]
    with open(folder + '.log', encoding='utf-8') as handle:
        assert re.search(r'Batch \[0\]\tSpeed: [\d.]+ samples/sec\trmse=', handle.read())
    assert 'layer1.0.bn1.running_mean' not in parameters(folder)


def test_teacher_can_use_bundled_weights():
    from openatac.backends.base import Teacher
    from openatac.backends.mxnet.teacher import load_teacher
    name, images = 'cifar_resnet8_v2_atac', mx.nd.random.normal(shape=(2, 3, 32, 32))
    teacher = load_teacher(Teacher(name, None, 10), [mx.cpu()], (3, 32, 32), 'float32')
    expected = openatac.get_model(name, pretrained=True)(images).asnumpy()
    np.testing.assert_allclose(teacher(images).asnumpy(), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(OpenatacError, match='another network'):
        load_teacher(Teacher(name, None, 3), [mx.cpu()], (3, 32, 32), 'float32')


@pytest.mark.usefixtures('small_network')
def test_gluoncv_teacher_can_use_local_parameters(photos, tmp_path):
    from gluoncv.model_zoo import get_model
    teacher = get_model('mobilenet0.25', classes=2)
    teacher.initialize()
    teacher(mx.nd.zeros((1, 3, 32, 32)))
    teacher.save_parameters(str(tmp_path / 'teacher.params'))
    folder = train(tmp_path / 'run', photos, '--teacher', 'mobilenet0.25', '--teacher-params',
                   tmp_path / 'teacher.params', '--num-epochs', 1, '--mode', 'imperative')
    assert math.isfinite(metrics_of(folder)[0]['train_loss'])


def test_sync_batch_norm_has_the_same_parameters():
    """Training needs two GPUs; only the network that is built for them is checked here."""
    from openatac.training.networks.build import build_network
    net, _ = build_network(config_of(train_imagenet, '--syncbn', '--num-gpus', 2, '--r', 2))
    plain = shallow_host().gluon()
    assert isinstance(net.layer1[0].bn1, mx.gluon.contrib.nn.SyncBatchNorm)
    assert [(k, p.shape) for k, p in parameters_of(net).items()] == [
        (k, p.shape) for k, p in parameters_of(plain).items()]


@pytest.mark.parametrize('flags, name, parameter, shape', [
    (['--self-attention', 'fa'], 'resnet50_v1b_fa', 'layer1.0.conv2.', None),
    (['--attention', 'se', '--reduction', '8'], 'resnet50_v1b_se', 'layer1.0.attention.excite.0.weight',
     (16, 128)),
    (['--attention', 'se', '--self-attention', 'aa'], 'resnet50_v1b_se_aa', 'layer2.0.conv2.', None),
])
def test_network_flags_build_the_expected_network(flags, name, parameter, shape):
    from openatac.training.networks.build import build_network
    net, built = build_network(config_of(train_imagenet, '--act-type', 'relu', *flags))
    parameters = parameters_of(net)
    assert built == name
    if shape:
        assert parameters[parameter].shape == shape
    else:  # without the convolution
        assert parameter + 'weight' not in parameters and any(key.startswith(parameter) for key in parameters)


# ------------------------------------------------------------------------------ only testing

@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A float16 file with the authors' keys, written by Gluon's own save_parameters."""
    mx.random.seed(5)
    net = shallow_host().gluon(classes=2)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.cast('float16')
    path = str(tmp_path_factory.mktemp('official') / 'published.params')
    net.save_parameters(path)
    return path


def test_published_parameters_are_evaluated_by_script_and_command(official, photos, capsys):
    assert mx.nd.load(official)['layer4.0.relu1.module.0.weight'].dtype == np.float16
    these = ('--data-dir', photos, *SMALL[:6], '--batch-size', 4, '-j', 0)
    assert run_in_process('--evaluate', official, *these, script=train_imagenet) == 0
    first = re.search('err-top1=.*', capsys.readouterr().err)[0]
    for more in (these, (*these[:4], *these[6:])):  # without --num-classes, the images determine the number
        assert cli.main(['evaluate-imagenet', official, *map(str, more)]) == 0
        assert re.search('err-top1=.*', capsys.readouterr().err)[0] == first
    assert re.fullmatch(r'err-top1=0\.\d+ err-top5=0.000000 loss=[\d.]+ on 6 images', first)


def test_mismatched_parameter_names_are_listed(official, photos, tmp_path, capsys):
    arrays = mx.nd.load(official)
    arrays['layer1.9.conv1.weight'] = arrays.pop('layer1.0.conv1.weight')
    mx.nd.save(str(tmp_path / 'renamed.params'), arrays)
    assert cli.main(['evaluate-imagenet', str(tmp_path / 'renamed.params'), '--data-dir', photos,
                     '--num-classes', '2', '--input-size', '32', '-j', '0']) == 1
    error = capsys.readouterr().err
    assert 'layer1.0.conv1.weight' in error and 'layer1.9.conv1.weight' in error


# ------------------------------------------------------------------------------------- the rehearsal

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


# --------------------------------------------------------------------------------------- bad input

def test_record_file_recipe_does_not_ignore_a_folder(photos, tmp_path, capsys):
    recipe = ['--recipe', 'imagenet_atac', '--data-dir', photos]
    assert '--no-use-rec' in script_error(capsys, 2, *recipe, script=train_imagenet)
    assert not config_of(train_imagenet, *map(str, recipe), '--no-use-rec').data.use_rec


def test_published_command_needs_gpus_and_suggests_the_cpu_form(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = error_line(run_in_process(*PUBLISHED, script=train_imagenet), capsys.readouterr().err)
    assert 'GPU 0,1' in error
    command = error.split('train_imagenet.py ')[-1].split()
    config = config_of(train_imagenet, *command)
    assert (config.training.num_gpus, config.compute.dtype, config.training.batch_size,
            config.training.lr) == (0, 'float32', 128, 0.075)


def test_recipe_is_the_published_command():
    given = parse(train_imagenet.parser(), ImagenetConfig, IMAGENET, ['--recipe', 'imagenet_atac'])
    recipe = values(given.config)
    published = values(config_of(train_imagenet, *PUBLISHED))
    assert {name: value for name, value in recipe.items() if published[name] != value} == {
        'recipe': 'imagenet_atac', 'save_dir': 'params', 'logging_file': 'train_imagenet.log',
        'num_classes': 1000}  # the published command takes it from its data


@pytest.mark.parametrize('wrong, named', [
    (['--use_se'], ['--use_se']),
    (['--batch-norm'], ['--batch-norm']),
    (['--use-pretrained'], ['--use-pretrained', '--pretrained']),
    (['--kvstore', 'horovod'], ['--kvstore', "'horovod'", 'dist_sync']),
    (['--warmup-epochs', '4'], ['--warmup-epochs', '4', '--num-epochs 3']),
    (['--resume-epoch', '3'], ['--resume-epoch', '3', '--num-epochs 3']),
    (['--teacher-params', 'x'], ['--teacher-params', '--teacher NAME']),
    (['--loss-scale', '8'], ['--loss-scale', '--dtype float16']),
    (['--loss-scale', '8', '--dtype', 'bfloat16', '--engine', 'torch'], ['--loss-scale', '--dtype float16']),
    (['--dtype', 'float16', '--kvstore', 'dist_async'], ['--kvstore', 'dist_async', 'use dist_sync']),
    (['--lr-decay-epoch', 'x'], ["'x'", '300,350']),
    (['--batch-size', '0'], ['--batch-size', '0', 'at least 1']),
    (['--recipe', 'cifar10_atac'], ['--recipe', "'cifar10_atac'", 'imagenet_atac']),
    (['--syncbn'], ['--syncbn', '--num-gpus is 0']),
    (['--syncbn', '--use-gn', '--num-gpus', '2'], ['--syncbn', '--use-gn']),
    (['--act-type', 'gleu'], ["'gleu'", 'gelu?']),
    (['--r', '600'], ['r=600', 'from 1 to 64']),
    (['--hard-weight', '1.5'], ['--hard-weight', '1.5', 'at most 1']),
], ids=lambda value: ' '.join(value) if value and value[0].startswith('--') else '')
def test_wrong_command_line_is_refused_with_the_value_and_the_remedy(wrong, named, tmp_path, monkeypatch,
                                                                     capsys):
    monkeypatch.chdir(tmp_path)
    code = run_in_process(*wrong, script=train_imagenet)
    error = error_line(code, capsys.readouterr().err)
    assert code == 2 and all(word in error for word in named)
    assert not os.listdir(tmp_path)


def wrong_runs(photos, records, folder):
    """Yield (flags, words in the error) for impossible runs."""
    garbage, none, three = (os.path.join(folder, name) for name in ('garbage', 'none', 'three'))
    with open(garbage, 'wb') as handle:
        handle.write(b'\x80\x04not for unpickling')
    cli.main(['pack', write_photos(three, classes=3), three])
    os.remove(three + '.classes')
    relu, detector = ('--teacher', 'resnet50_v1b_relu'), ('--teacher', 'ssd_300_vgg16_atrous_voc')
    yield ['--data-dir', none], [none + '/train']
    yield ['--data-dir', three + '.rec'], ['--data-dir', three + '.rec']
    yield ['--num-classes', 3], [photos + '/train', '2 classes', '3']
    yield record_flags(records, rec_train_idx='val.idx'), ['val.idx', 'train.rec']
    yield record_flags(records, rec_val_idx='val.classes'), ['val.classes']
    yield ['--num-classes', 3, *record_flags(records)], ['train.classes', '2 classes', '3']
    yield record_flags(records, rec_train=three + '.rec'), [three + '.rec', 'label 2']
    yield ['--use-rec', '--rec-train', none + '.rec'], [none + '.rec']
    yield ['--batch-size', 13], ['--batch-size']
    yield ['--dtype', 'float16'], ['--dtype float32']
    yield ['--teacher', 'mr_chips'], ['mr_chips']
    yield relu, ['--teacher-params']
    yield [*relu, '--teacher-params', garbage], [garbage]
    yield [*detector, '--teacher-params', garbage], [detector[1]]
    yield ['--resume-params', garbage], [garbage]
    yield ['--resume-states', garbage], [garbage]
    yield ['--resume-states', none], [none]
    yield ['--logging-file', none + '/log'], ['--logging-file', none]
    yield ['--batch-size', 12, '--num-epochs', 1, '--lr-mode', 'cosine'], ['--batch-size']
    yield ['--kvstore', 'dist_sync'], ['DMLC_ROLE']


def test_impossible_run_is_one_error_that_names_the_cause(photos, records, tmp_path, capsys):
    for these, named in wrong_runs(photos, records, str(tmp_path)):
        code = run_in_process(*flags(str(tmp_path / 'run'), photos, *these), script=train_imagenet)
        error = error_line(code, capsys.readouterr().err)
        assert code == 1 and all(word in error for word in named), these


@pytest.mark.usefixtures('small_network')
def test_damaged_photograph_is_named_and_skipped(photos, tmp_path, capfd):
    data = str(tmp_path / 'photos')
    shutil.copytree(photos, data)
    os.truncate(os.path.join(data, 'train', 'class1', '003.jpg'), 400)
    train(tmp_path / 'run', data, '--num-epochs', 1, '-j', 2)
    assert capfd.readouterr().err.count('003.jpg') == 1
    assert 'Traceback' not in log_of(str(tmp_path / 'run'))
    code = run_in_process(*flags(str(tmp_path / 'other'), data, '--num-epochs', 1, '--max-bad-share', 0),
                          script=train_imagenet)
    assert code == 1 and '1 of 12' in error_line(code, capfd.readouterr().err)
    os.truncate(os.path.join(data, 'val', 'class1', '000.jpg'), 400)
    assert cli.main(['evaluate-imagenet', str(tmp_path / 'run'), '-j', '0']) == 1
    assert 'on 5 images' in capfd.readouterr().err


# ------------------------------------------------------------------------------------ real photographs

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
