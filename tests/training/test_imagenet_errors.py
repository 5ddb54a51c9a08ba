"""train_imagenet.py names what is wrong in flags and data, and the remedy."""
import os
import shutil

import pytest

import train_imagenet
from openatac import cli
from openatac.commands.shared.training_flags import parse
from openatac.options.declaration import option_values
from openatac.training.config import ImagenetConfig
from openatac.training.recipes import IMAGENET
from tests.helpers.images.made_up_images import write_photos
from tests.helpers.processes.commands import call_command
from tests.helpers.processes.imagenet_runs import flags, record_flags, train
from tests.helpers.processes.scripts import config_of, log_of, run_in_process, script_error

pytestmark = pytest.mark.usefixtures('shallow_resnet')
PUBLISHED = [
    '--mode', 'hybrid', '--lr', '0.075', '--lr-mode', 'cosine', '--num-epochs', '160', '--batch-size',
    '128', '--num-gpus', '2', '-j', '48', '--warmup-epochs', '5', '--dtype', 'float16', '--use-rec',
    '--last-gamma', '--no-wd', '--label-smoothing', '--save-dir', 'params_resnet50_v1b_ChaATAC_2',
    '--logging-file', 'resnet50_v1b_ChaATAC_2.log', '--r', '2', '--act-layers', '2',
]


def test_record_file_recipe_does_not_ignore_a_folder(photos, tmp_path, capsys):
    recipe = ['--recipe', 'imagenet_atac', '--data-dir', photos]
    assert '--no-use-rec' in script_error(capsys, 2, *recipe, script=train_imagenet)
    assert not config_of(train_imagenet, *map(str, recipe), '--no-use-rec').data.use_rec


def test_published_command_needs_gpus_and_suggests_the_cpu_form(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = script_error(capsys, 1, *PUBLISHED, script=train_imagenet)
    assert 'GPU 0,1' in error
    command = error.split('train_imagenet.py ')[-1].split()
    config = config_of(train_imagenet, *command)
    assert (config.training.num_gpus, config.compute.dtype, config.training.batch_size,
            config.training.lr) == (0, 'float32', 128, 0.075)


def test_recipe_is_the_published_command():
    given = parse(train_imagenet.parser(), ImagenetConfig, IMAGENET, ['--recipe', 'imagenet_atac'])
    recipe = option_values(given.config)
    published = option_values(config_of(train_imagenet, *PUBLISHED))
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
    (['--dtype', 'float16', '--kvstore', 'dist_async'], ['--kvstore', 'dist_async', 'dist_sync']),
    (['--lr-decay-epoch', 'x'], ["'x'", '300,350']),
    (['--batch-size', '0'], ['--batch-size', ' 0', '1']),
    (['--recipe', 'cifar10_atac'], ['--recipe', "'cifar10_atac'", 'imagenet_atac']),
    (['--syncbn'], ['--syncbn', '--num-gpus', '0']),
    (['--syncbn', '--use-gn', '--num-gpus', '2'], ['--syncbn', '--use-gn']),
    (['--act-type', 'gleu'], ["'gleu'", 'gelu?']),
    (['--r', '600'], ['r=600', 'from 1 to 64']),
    (['--hard-weight', '1.5'], ['--hard-weight', '1.5', ' 1']),
], ids=lambda value: ' '.join(value) if value and value[0].startswith('--') else '')
def test_wrong_command_line_is_refused_with_the_value_and_the_remedy(wrong, named, tmp_path, monkeypatch,
                                                                     capsys):
    monkeypatch.chdir(tmp_path)
    error = script_error(capsys, 2, *wrong, script=train_imagenet)
    assert all(word in error for word in named)
    assert not os.listdir(tmp_path)


def wrong_runs(photos, records, folder):
    """Yield (flags, words in the error) for impossible runs."""
    garbage, none, three = (os.path.join(folder, name) for name in ('garbage', 'none', 'three'))
    with open(garbage, 'wb') as handle:
        handle.write(b'\x80\x04not for unpickling')
    cli.main(['pack', write_photos(three, classes=3), three])
    os.remove(three + '.classes')
    relu, detector = ('--teacher', 'resnet50_v1b_relu'), ('--teacher', 'ssd_300_vgg16_atrous_voc')
    yield ['--data-dir', none], [none, 'train/', 'val/']
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
        error = script_error(capsys, 1, *flags(str(tmp_path / 'run'), photos, *these), script=train_imagenet)
        assert all(word in error for word in named), these


@pytest.mark.usefixtures('small_network')
def test_damaged_photograph_is_named_and_skipped(photos, tmp_path, capfd):
    data = str(tmp_path / 'photos')
    shutil.copytree(photos, data)
    os.truncate(os.path.join(data, 'train', 'class1', '003.jpg'), 400)
    train(tmp_path / 'run', data, '--num-epochs', 1, '-j', 2)
    assert capfd.readouterr().err.count('003.jpg') == 1
    assert 'Traceback' not in log_of(str(tmp_path / 'run'))
    error = script_error(capfd, 1, *flags(str(tmp_path / 'other'), data, '--num-epochs', 1, '--max-bad-share',
                                          0), script=train_imagenet)
    assert '1 of 12' in error
    os.truncate(os.path.join(data, 'val', 'class1', '000.jpg'), 400)
    assert cli.main(['evaluate-imagenet', str(tmp_path / 'run'), '-j', '0']) == 1
    assert 'on 5 images' in capfd.readouterr().err


def test_evaluation_has_the_rules_of_training():
    flags = ['--use-rec', '--data-dir', 'photos']
    assert call_command('evaluate-imagenet', 'x.params', *flags) == 2
    assert run_in_process(*flags, script=train_imagenet) == 2
