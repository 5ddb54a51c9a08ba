"""Published numbers equal the authors' log and table; verdicts and hours equal hand calculations."""
import csv
import json
import os
import re

import mxnet as mx
import pytest

from openatac import cli
from openatac.study.costs.gluon_costs import costs
from openatac.study.published.numbers import (
    CIFAR100_NUMBERS,
    IMAGENET_NUMBERS,
    LAST_TOP1,
    LAST_TOP5,
    OPERATIONS,
    PARAMETERS,
    TOP1,
    TOP5,
)
from openatac.study.published.our_costs import network_costs
from openatac.training.recipes import CIFAR
from openatac.training.recipes import IMAGENET as IMAGENET_RECIPES
from openatac.zoo.names import get_model_list
from tests.helpers.images.made_up_images import CIFAR100 as CIFAR100_FILES
from tests.helpers.images.made_up_images import write_cifar
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import command_error, rows_of
from tests.helpers.processes.scripts import run_in_process

RELU1, ATAC1, RELU3 = 'cifar_resnet8_v2_relu', 'cifar_resnet8_v2_atac', 'cifar_resnet20_v2_relu'
ATAC3, ATAC50 = 'cifar_resnet20_v2_atac', 'resnet50_v1b_atac'


def imagenet(unit):
    """Return {measure: (value, uncertainty)} from a row of the published table."""
    return {number.measure: (number.value, number.uncertainty) for number in IMAGENET_NUMBERS
            if number.network == 'resnet50_v1b_' + unit}


# --------------------------------------------------------------------------------- the data

def test_published_networks_are_in_the_zoo_without_duplicates():
    numbers = IMAGENET_NUMBERS + CIFAR100_NUMBERS
    assert {number.network for number in numbers} <= set(get_model_list())
    assert len({(number.network, number.measure) for number in numbers}) == len(numbers) == 25 + 24


def test_imagenet_table_equals_the_paper():
    assert imagenet('relu') == {PARAMETERS: (25.6, 0.05), OPERATIONS: (3.86, 0.005), TOP1: (23.30, 0.005),
                                TOP5: (6.55, 0.005)}
    assert imagenet('aa') == {PARAMETERS: (25.8, 0.05), OPERATIONS: (8.3, 0.05), TOP1: (22.30, 0.005),
                              TOP5: (6.20, 0.005)}
    assert imagenet('fa') == {PARAMETERS: (18.0, 0.05), OPERATIONS: (7.2, 0.05), TOP1: (22.40, 0.005)}
    values = {unit: [imagenet(unit)[measure][0] for measure in (PARAMETERS, OPERATIONS, TOP1, TOP5)]
              for unit in ('se', 'ge', 'atac')}
    assert values == {'se': [28.1, 3.87, 22.12, 5.99], 'ge': [33.7, 3.87, 21.88, 5.80],
                      'atac': [28.0, 4.4, 21.41, 6.02]}
    assert {number.network for number in IMAGENET_NUMBERS if number.our_recipe} == {ATAC50}


def test_atac_errors_equal_the_authors_log():
    epochs = json.loads((ROOT / 'tests' / 'oracle' / 'imagenet_log.json').read_text())['validation']
    best, last, ours = min(epochs, key=lambda row: row[1]), epochs[-1], imagenet('atac')
    assert (best[0], last[0]) == (155, 159)
    for (value, uncertainty), printed in ((ours[TOP1], best[1]), (ours[LAST_TOP1], last[1]),
                                          (ours[LAST_TOP5], last[2])):
        assert abs(value - 100 * printed) <= uncertainty
    assert 0.005 < 100 * best[2] - ours[TOP5][0] < 0.01  # 6.0276, printed as 6.02 in the paper


def test_cifar100_numbers_equal_the_papers_figure():
    rows = {}
    for number in CIFAR100_NUMBERS:
        depth, unit = number.network[len('cifar_resnet'):].split('_v2_')
        rows.setdefault(unit, {})[(int(depth) - 2) // 6] = number.value
        assert number.uncertainty == 0.001 and '20 superclasses' in number.data and 'figure' in number.source
    assert rows == {'atac': dict(enumerate((.764, .796, .812, .821), 1)),
                    'swish': dict(enumerate((.740, .788, .804, .810, .817), 1)),
                    'relu': dict(enumerate((.737, .785, .799, .806, .814), 1)),
                    'selu': dict(enumerate((.729, .780, .795, .801, .804), 1)),
                    'xunit': dict(enumerate((.737, .775, .795, .800, .805), 1))}


def test_stride_in_the_first_convolution_has_the_published_operations():
    """Check the note about 3.86 G: Gluon's ResNet-50 v1 has its strides there."""
    net = mx.gluon.model_zoo.vision.resnet50_v1()
    net.initialize()
    net.infer_shape(mx.nd.zeros((1, 3, 224, 224)))
    assert abs(costs(net, (3, 224, 224)).multiply_adds / 1e9 - 3.86) <= 0.005


# --------------------------------------------------------------------------- hand-made runs

def save(folder, summary, history):
    os.makedirs(folder)
    (folder / 'summary.json').write_text(json.dumps(summary))
    (folder / 'settings.json').write_text('{}')
    (folder / 'train.log').write_text('')
    with open(folder / 'metrics.csv', 'w', newline='') as handle:
        writer = csv.DictWriter(handle, history[0])
        writer.writeheader()
        writer.writerows(history)


def cifar_run(folder, accuracy, blocks=1, act_type='relu', seed=1, images=(50000, 10000), speed=500.0,
              device='1 x cpu', **changes):
    """Write a run of the published recipe, except for ``changes``."""
    recipe = {name: value for name, value in CIFAR['cifar100_atac'].items() if name not in ('model', 'gpus')}
    settings = {**recipe, 'attention': None, 'useGlobal': False, 'drop_rate': 0.0, 'dtype': 'float32',
                'resume_from': None, 'data': '1+2', 'blocks': blocks, 'act_type': act_type, 'seed': seed,
                'devices': device, **changes}
    save(folder, {
        'command': '', 'model': f'cifar_resnet{6 * blocks + 2}_v2_x', 'dataset': settings['dataset'],
        'training_images': images[0], 'test_images': images[1], 'seed': seed, 'device': device,
        'threads': '2', 'epochs': 1, 'best_accuracy': accuracy, 'best_epoch': 0,
        'last_accuracy': 0.1, 'images_per_second': speed, 'settings': settings,
        'versions': dict.fromkeys(('openatac', 'mxnet', 'numpy', 'python'), '')},
        [{'epoch': 0, 'train_loss': 1.0, 'val_accuracy': accuracy}])


def imagenet_run(folder, accuracies, unit='atac', seed=1, device='2 x gpu', **changes):
    """Write a run of the published recipe with (top 1, top 5) after each epoch, except for ``changes``."""
    settings = {**IMAGENET_RECIPES['imagenet_atac'], 'attention': None, 'mixup': False, 'teacher': None,
                'use_gn': False, 'syncbn': False, 'resume_params': None, 'resume_states': None,
                'resume_epoch': 0, 'reduction': 16, 'data': '1+2', 'seed': seed, 'devices': device, **changes}
    best = max(top1 for top1, _ in accuracies)
    save(folder, {
        'command': '', 'model': 'resnet50_v1b_' + unit, 'dataset': 'imagenet', 'training_images': 1281167,
        'test_images': 50000, 'seed': seed, 'device': device, 'threads': '4', 'epochs': len(accuracies),
        'best_accuracy': best, 'best_epoch': 0, 'last_accuracy': accuracies[-1][0],
        'images_per_second': 1000.0, 'settings': settings,
        'versions': dict.fromkeys(('openatac', 'mxnet', 'numpy', 'python'), '')},
        [{'epoch': epoch, 'train_loss': 1.0, 'val_accuracy': top1, 'val_top5_accuracy': top5}
         for epoch, (top1, top5) in enumerate(accuracies)])


BENCHMARK = ('measurement,ours,n,machine,cores,network\n'
             '"training, ResNet-20 ATAC, batch 128, whole script",500,5,"2 cores of Some CPU; Python",2,'
             'cifar_resnet20_v2_atac\n'
             '"input pipeline alone, one core",9999,5,"2 cores of Some CPU; Python",2,\n')


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder that contains only results/benchmark.csv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / 'benchmark.csv').write_text(BENCHMARK)
    return tmp_path


def published(*words):
    """Return {(network, measure): row} from the file that the command writes."""
    assert cli.main(['published', *map(str, words), '--csv', 'out.csv']) == 0
    return {(row['network'], row['measure']): row for row in rows_of('out.csv')}


def says(text, *words):
    return all(word in text for word in words)


def accuracy_row(network, *folders):
    return published(*folders, '--network', network)[network, 'best accuracy']


# --------------------------------------------------------------------------------- verdicts

# t(0.975, 2) = 4.302653 and t(0.975, 1) = 12.706205.

def test_accuracy_within_the_tolerance_is_reproduced(here):
    for seed, accuracy in enumerate((0.799, 0.800, 0.801)):
        cifar_run(here / 'runs' / str(seed), accuracy, blocks=3, seed=seed)
    row = accuracy_row(RELU3, 'runs')
    assert (row['published'], row['uncertainty'], row['n']) == ('0.799', '0.001', '3')
    assert [float(row[name]) for name in ('ours', 'deviation', 'difference')] == [0.8, 0.001, 0.001]
    assert float(row['tolerance']) == pytest.approx(0.001 + 4.302653 * 0.001 / 3 ** 0.5, rel=1e-5)
    assert (row['verdict'], row['hours']) == ('reproduced (+0.0010)', '')


def test_verdicts_differs_and_undecided(here, capsys):
    for seed, (accuracy, other) in enumerate(((0.750, 0.732), (0.752, 0.744), (0.751, None))):
        cifar_run(here / 'runs' / f'atac{seed}', accuracy, act_type='ChaATAC', seed=seed)
        if other:
            cifar_run(here / 'runs' / f'relu{seed}', other, seed=seed)
    row = accuracy_row(ATAC1, 'runs')
    assert says(row['verdict'], 'differs', '-0.0130') and float(row['difference']) == -0.013
    row = accuracy_row(RELU1, 'runs')
    assert says(row['verdict'], 'undecided', '+0.0010', '±0.0762')  # 12.706205 * 0.006
    capsys.readouterr()
    assert cli.main(['published', 'runs', '--network', RELU1, ATAC1]) == 0
    text = capsys.readouterr().out
    assert re.search(r'0\.7510 ± 0\.0010 +3 +differs .*-0\.0130', text)
    assert not re.search(r'^- \d+ run', text, re.MULTILINE)  # none is left out


@pytest.mark.parametrize('accuracy, verdict', [
    (0.738, ['reproduced', '+0.0010']), (0.736, ['reproduced', '-0.0010']),
    (0.7381, ['differs', '+0.0011'])])
def test_single_run_has_only_the_published_uncertainty(here, accuracy, verdict):
    cifar_run(here / 'run', accuracy)
    row = accuracy_row(RELU1, 'run')
    assert says(row['verdict'], *verdict) and (row['n'], row['deviation']) == ('1', '')


def test_copies_count_once_and_conflicting_results_are_refused(here, capsys):
    for name in ('a', 'b'):
        cifar_run(here / name, 0.737)
    assert accuracy_row(RELU1, 'a', 'b')['n'] == '1'
    cifar_run(here / 'c', 0.738)
    error = command_error(capsys, 'published', 1, 'a', 'b', 'c', '--network', RELU1)
    assert re.search(f'{RELU1}.* seed 1', error)


OTHERS = {  # what is named, and the settings
    'dataset cifar10 .*cifar100.* num_epochs 6 .*400': dict(dataset='cifar10', num_epochs=6),
    'cifar100_labels fine .*coarse': dict(cifar100_labels='fine'),
    'num_epochs 100 .*400': dict(num_epochs=100, lr_decay_epoch='75,90'),
    'test_images 5000 .*10000': dict(images=(50000, 5000)),
    'r 4 .*2': dict(act_type='ChaATAC', r=4),
    'useReLU False .*True': dict(act_type='ChaATAC', useReLU=False),
    r'lr 0\.1 .*0\.2.* wd 0\.0 .*0\.0001': dict(lr=0.1, wd=0.0),
    'step 256 .*128': dict(device='2 x gpu'),
    r'resume_from w\.params .*None': dict(resume_from='w.params'),
    'cifar_resnet8_v2_se': dict(attention='se'),
    'cifar_resnet8_v2_atac_global': dict(act_type='ChaATAC', useGlobal=True),
    'cifar_resnet8_v2_x': dict(host='CIFARResNet18'),
}


@pytest.mark.parametrize('named', OTHERS)
def test_different_data_and_recipes_are_never_compared(here, named, capsys):
    for seed in (1, 2):
        cifar_run(here / 'runs' / str(seed), 0.737, seed=seed, **OTHERS[named])
    row = accuracy_row(RELU1, 'runs')
    assert row['ours'] == row['difference'] == '' and row['verdict'].startswith('not run')
    line, = (line for line in capsys.readouterr().out.splitlines() if '2 runs' in line)
    assert re.search(rf'\b{named} .*\(cifar_resnet8_v2_', line)


def test_settings_that_do_not_affect_relu_are_not_compared(here):
    cifar_run(here / 'run', 0.737, r=4, useReLU=False, act_layers=2, mode='imperative')
    assert accuracy_row(RELU1, 'run')['verdict'] == 'reproduced (+0.0000)'


def test_run_of_train_cifar_is_read(here, capsys):
    write_cifar(here / 'data', CIFAR100_FILES, images=20)
    assert run_in_process('--recipe', 'cifar100_atac', '--blocks', 1, '--gpus', '', '--num-epochs', 1,
                          '--batch-size', 10, '--lr-decay-epoch', '', '--data-dir', here / 'data',
                          '--save-dir', 'run') == 0
    capsys.readouterr()
    assert accuracy_row(ATAC1, 'run')['ours'] == ''
    assert re.search('training_images 20 .*50000.* test_images 20 .*10000.* num_epochs 1 .*400.*'
                     + ATAC1, capsys.readouterr().out)


def test_imagenet_runs_are_compared(here, capsys):
    """The best epoch, by top-1 error, has 21.41 and 6.10; the last 21.50 and 6.08."""
    imagenet_run(here / 'atac', [(0.5, 0.95), (0.7859, 0.939), (0.785, 0.9392)])
    imagenet_run(here / 'relu', [(0.766, 0.93)], unit='relu')
    imagenet_run(here / 'short', [(0.7859, 0.9398)], seed=2, num_epochs=10)
    imagenet_run(here / 'ratio', [(0.7859, 0.9398)], seed=3, r=4)
    rows = published('atac', 'relu', 'short', 'ratio', '--network', ATAC50, 'resnet50_v1b_relu')
    verdicts = {measure: row['verdict'] for (network, measure), row in rows.items() if network == ATAC50}
    expected = {PARAMETERS: ('reproduced', '+0.01'), OPERATIONS: ('reproduced', '+0.00'),
                TOP1: ('reproduced', '+0.00'), TOP5: ('differs', '+0.08'),
                LAST_TOP1: ('differs', '+0.03'), LAST_TOP5: ('differs', '-0.02')}
    assert verdicts.keys() == expected.keys()
    assert all(says(verdicts[measure], *words) for measure, words in expected.items()), verdicts
    assert says(rows['resnet50_v1b_relu', TOP1]['verdict'], 'not judged', 'recipe', '+0.10')
    text = capsys.readouterr().out
    assert re.search(f'1 run: num_epochs 10 .*160 .*{ATAC50}', text)
    assert re.search(f'1 run: r 4 .*2 .*{ATAC50}', text)
    assert re.search(r'21\.41: reproduced \(\+0\.00\); 6\.10: differs .*\+0\.08', text)
    assert 'GPU hours' not in text


# ------------------------------------------------------------------------------------ costs

def test_costs_are_counted_as_in_the_source(here):
    """Use tests/oracle/costs.json; ReLU's multiply-adds exclude those that it adds to the dense layer."""
    rows = published()
    assert len(rows) == 49
    assert float(rows[ATAC50, PARAMETERS]['ours']) == 28.0063       # 28,006,312 with running statistics
    assert float(rows[ATAC50, OPERATIONS]['ours']) == 4.39951       # 4,399,512,552
    relu = rows['resnet50_v1b_relu', PARAMETERS], rows['resnet50_v1b_relu', OPERATIONS]
    assert [row['ours'] for row in relu] == ['25.557', '4.08918']   # 25,557,032 trainable
    assert says(relu[0]['verdict'], 'reproduced', '-0.04') and says(relu[1]['verdict'], 'differs', '+0.23')
    assert abs(network_costs('resnet50_v1b_ge').parameters / 1e6 - 33.7) <= 0.05  # as the note says
    # The papers of AA and FA count multiplications and additions.
    for unit, least in (('aa', 8.3), ('fa', 6.9)):
        assert least < float(rows['resnet50_v1b_' + unit, OPERATIONS]['ours']) < least + 0.15
    words = {row['verdict'].split(' ')[0] for row in rows.values()}
    assert words == {'reproduced', 'differs', 'not'}


# ------------------------------------------------------------------------------------ hours

def test_hours_come_from_a_measured_network(here, capsys):
    """2 cores at 500 images/s: 400 x 50,000 / 500 s. The authors' two GPUs: 942 images/s."""
    rows = published('--network', ATAC3, ATAC50)
    row = rows[ATAC3, 'best accuracy']
    assert float(row['hours']) == pytest.approx(400 * 50000 / 500 / 3600 * 2, rel=1e-3)
    assert says(row['verdict'], 'not run', ' 22 CPU')
    assert says(row['images_per_second'], '500 ', ' 2 cores', 'Some CPU', 'n = 5')
    for measure in (TOP1, TOP5, LAST_TOP1):
        row = rows[ATAC50, measure]
        assert float(row['hours']) == pytest.approx(160 * 1281167 / 471 / 3600, rel=1e-3)
        assert row['hours_of'] == 'GPU'
    text = capsys.readouterr().out
    assert says(text, ' 121 GPU hours', '942 on 2 GPUs')


def test_hours_are_scaled_by_multiply_adds(here):
    """ATAC has 45,799,680 and ReLU 40,818,944."""
    row = accuracy_row(RELU3)
    assert float(row['hours']) == pytest.approx(22.2222 * 40818944 / 45799680, rel=1e-3)
    assert says(row['verdict'], 'not run', ' 20 CPU', ATAC3)


def test_incomparable_runs_still_provide_their_speed(here):
    """Take the median of three on 2 threads: 20 million images / 1000 x 2. With r = 4, costs differ."""
    for seed, speed in enumerate((900.0, 1000.0, 3000.0)):
        cifar_run(here / 'runs' / str(seed), 0.7, seed=seed, speed=speed, dataset='cifar10')
    cifar_run(here / 'runs' / 'r', 0.7, act_type='ChaATAC', r=4, speed=7.0)
    row = accuracy_row(RELU1, 'runs')
    assert says(row['verdict'], 'not run', ' 11 CPU') and 'cifar' not in row['verdict']
    assert says(row['images_per_second'], RELU1, ' 1000 ', ' 2 CPU', 'n = 3')
    swish = accuracy_row(RELU1.replace('relu', 'swish'), 'runs')
    assert says(swish['verdict'], 'not run', ' 11 CPU', RELU1)
    assert says(accuracy_row(ATAC3, 'runs')['verdict'], 'not run', ' 22 CPU')  # from the benchmark


def test_verdict_says_if_no_speed_was_measured(here):
    (here / 'results' / 'benchmark.csv').unlink()
    verdict = accuracy_row(RELU1)['verdict']
    assert says(verdict, 'not run', 'speed') and not re.search(r'\d', verdict)


# ------------------------------------------------------------------------------ the command

def test_runs_in_results_are_found_by_default(here):
    cifar_run(here / 'results' / 'cifar100' / 'runs' / 'b1-relu-seed1', 0.737)
    assert accuracy_row(RELU1)['verdict'] == 'reproduced (+0.0000)'


def test_network_without_runs_is_listed_as_not_run(here, capsys):
    assert cli.main(['published', '--network', RELU1]) == 0
    printed = capsys.readouterr().out
    assert re.search(r'ReLU, b = 1 +0\.737 +- +0 +not run', printed) and 'ImageNet' not in printed


@pytest.mark.parametrize('words, code, named', [
    (['empty'], 1, 'empty '),
    (['nowhere'], 1, 'nowhere '),
    (['broken'], 1, 'broken '),
    (['older'], 1, 'older '),
    (['--network', RELU1, '--csv', 'empty/none/x.csv'], 1, '--csv: empty/none/x.csv '),
    (['--network', RELU1, '--csv', 'empty'], 1, '--csv: empty '),
    (['--network', 'resnet50_v1b_swish'], 2, "'resnet50_v1b_swish'"),
])
def test_wrong_folder_file_or_network_is_named(here, words, code, named, capsys):
    (here / 'empty').mkdir()
    (here / 'broken').mkdir()
    (here / 'broken' / 'summary.json').write_text('{"dataset": ')
    (here / 'older').mkdir()
    (here / 'older' / 'summary.json').write_text('{"dataset": "imagenet", "model": "x"}')
    assert named in command_error(capsys, 'published', code, *words)
