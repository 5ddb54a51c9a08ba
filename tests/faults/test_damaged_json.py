"""Manifests, run records, recipes and checkpoints: any wrong type or missing part gives one clear error."""
import copy
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from openatac.commands import predict
from openatac.errors import CheckpointError, OpenatacError
from openatac.options.command_line import DEFAULT, ParsedFlags
from openatac.options.declaration import build_config, option_fields
from openatac.study.comparison import sentences, tables
from openatac.study.comparison.comparison import Comparison, group_runs
from openatac.study.comparison.differences import find_differences
from openatac.study.comparison.sweep import Sweep
from openatac.study.finished_runs import find_runs
from openatac.study.gates.run_gates import gates_of_run
from openatac.study.published.numbers import IMAGENET_NUMBERS
from openatac.study.published.rows import make_row
from openatac.study.published.training_time import benchmark_speeds, run_speeds
from openatac.trained.manifest import read_manifest
from openatac.trained.trained_network import load_run
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import CifarConfig, network_settings
from openatac.training.networks.initial_files import read_initial_config
from tests.helpers.learners.stub_learner import STATE, StubLearner
from tests.helpers.paths import ROOT
from tests.helpers.processes.scripts import changed_json

RUN = ROOT / 'results' / 'cifar10_b1' / 'runs' / 'b1-atac-seed1'
WRONG = [None, True, -1, 10 ** 30, 0.5, float('nan'), 'x', '\ud800', ['x'], {'a': 1}]


def places(value, path=()):
    """Yield the paths to all parts of a JSON value."""
    yield path
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from places(item, (*path, key))


def mutants(value):
    """Yield copies of a JSON value, each with one part replaced by a wrong value or removed."""
    for path in places(value):
        for wrong in WRONG:
            mutant = copy.deepcopy({'whole': value})
            *parents, last = ('whole', *path)
            part = mutant
            for key in parents:
                part = part[key]
            part[last] = wrong
            yield mutant['whole']
        if path and isinstance(path[-1], str):
            mutant = copy.deepcopy(value)
            part = mutant
            for key in path[:-1]:
                part = part[key]
            del part[path[-1]]
            yield mutant


def check(path, use, every=1):
    """Apply ``use`` to mutants of the file; it may work or raise OpenatacError. Return the count of each.

    Parameters
    ----------
    path : str
    use : callable
    every : int
        Try only one mutant in so many, if each takes long.
    """
    with open(path, encoding='utf-8') as handle:
        value = json.load(handle)
    worked = refused = 0
    texts = [json.dumps(mutant) for mutant in mutants(value)][::every]
    for text in [*texts, '', '[' * 100_000, '{"a":' * 100_000, '\0', 'x']:
        with open(path, 'w', encoding='utf-8') as handle:
            handle.write(text)
        try:
            use()
            worked += 1
        except OpenatacError:
            refused += 1
        except Exception as error:
            raise AssertionError(f'{text[:2000]}: {type(error)}') from error
    return worked, refused


def test_damaged_manifest_is_refused(prefix, tmp_path, capsys):
    image = str(tmp_path / 'a.png')
    Image.fromarray(np.zeros((32, 32, 3), 'uint8')).save(image)

    def use():
        read_manifest(prefix)
        predict.main([prefix, image, '--engine', 'imperative'])

    with changed_json(prefix + '.json') as manifest:
        manifest.update(reports={'symbol': {'bytes': 1}}, arguments={'r': 2})
    worked, refused = check(prefix + '.json', use, every=7)
    assert refused > 4 * worked > 0


@pytest.mark.parametrize('key, value', [
    ('image_shape', [3, 1000000, 1000000]), ('image_shape', [3, 32]), ('labels', None), ('labels', ['a', 3]),
    ('mean', 'x'), ('std', [0, 1, 1]), ('crop_ratio', 1e-9), ('classes', 2.5), ('precision', 'int8'),
    ('new', 1)])
def test_invalid_manifest_value_is_refused(prefix, key, value):
    with changed_json(prefix + '.json') as manifest:
        manifest[key] = value
    with pytest.raises(OpenatacError, match=key):
        read_manifest(prefix)


@pytest.fixture
def run(tmp_path):
    """A copy of the record of a run."""
    shutil.copytree(RUN, tmp_path / 'run')
    return str(tmp_path / 'run')


def test_damaged_run_summary_is_refused(run):
    def use():
        comparison = Comparison(group_runs(find_runs(run)))
        sentences.circumstances(comparison), tables.rows(comparison), find_differences(comparison)
        found = find_runs(run)
        list(run_speeds(found))
        make_row(IMAGENET_NUMBERS[0], found, [])

    worked, refused = check(os.path.join(run, 'summary.json'), use, every=3)
    assert refused > worked > 0


def test_damaged_run_settings_are_refused(run):
    def use():
        for read in (load_run, gates_of_run):
            with pytest.raises(OpenatacError):  # at the latest because its parameters are missing
                read(run)

    worked, refused = check(os.path.join(run, 'settings.json'), use, every=3)
    assert worked > 0 == refused  # whatever the settings say, both readers end with an OpenatacError


@pytest.mark.parametrize('name', ['settings.json', 'summary.json'])
def test_too_many_blocks_are_refused_before_a_network_is_built(run, name):
    path = os.path.join(run, name)
    with open(path, encoding='utf-8') as handle:
        text = handle.read()
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write(text.replace('"blocks": 1,', '"blocks": 1000000,'))
    with pytest.raises(OpenatacError, match='blocks.*1000000'):
        load_run(run) if name == 'settings.json' else find_runs(run)


def test_damaged_run_metrics_are_refused(run):
    path = os.path.join(run, 'metrics.csv')
    with open(path, encoding='utf-8') as handle:
        text = handle.read()
    for wrong in ('', '\0', 'epoch\n', text.replace('train_loss', 'x'), text + 'x,y\n',
                  text.replace('0.', 'a'), text.replace(',', '"' + 'x' * 200_000 + '",', 1), '\xff'):
        with open(path, 'w', encoding='latin-1') as handle:
            handle.write(wrong)
        with pytest.raises(OpenatacError):
            find_runs(run)


def test_damaged_speed_measurements_are_refused(tmp_path):
    good = (ROOT / 'results' / 'benchmark.csv').read_text('utf-8')
    (tmp_path / 'benchmark.csv').write_text(good, 'utf-8')
    assert list(benchmark_speeds(str(tmp_path)))
    for wrong in (good.replace('ours', 'x', 1), good.replace(',2,', ',0,'), good.replace('network', 'name')):
        (tmp_path / 'benchmark.csv').write_text(wrong, 'utf-8')
        with pytest.raises(OpenatacError, match='benchmark.csv'):
            list(benchmark_speeds(str(tmp_path)))


def test_damaged_comparison_recipe_is_refused(tmp_path):
    (tmp_path / 'runs' / 'a').mkdir(parents=True)
    (tmp_path / 'runs' / 'a' / 'settings.json').write_text('{}')
    (tmp_path / 'recipe.json').write_text('["--recipe", "digits"]')
    sweep = Sweep(str(tmp_path), ['relu'], [1], [1], 'digits')
    worked, refused = check(str(tmp_path / 'recipe.json'), sweep.record_recipe)
    assert worked > 0 and refused > 0


def test_damaged_initial_files_are_refused(tmp_path):
    path = tmp_path / 'a-flags.json'
    config = build_config(CifarConfig, {'blocks': 1, 'useReLU': True})
    path.write_text(json.dumps({'model': 'atac', 'flags': network_settings(config)}))
    given = ParsedFlags(config, dict.fromkeys(option_fields(CifarConfig), DEFAULT))

    def read():
        try:
            read_initial_config(str(tmp_path / 'a'), given)
        except ValueError as error:  # the command turns it into one clear error
            raise OpenatacError(str(error)) from None

    worked, refused = check(str(path), read)
    assert refused > worked > 0


def test_damaged_checkpoint_is_refused(tmp_path):
    """Include damaged checkpoints with valid checksums."""
    folder = str(tmp_path)

    def adapt(arrays, found):
        if found['settings'] != STATE['settings']:
            raise CheckpointError('other settings')
        return arrays, found

    checkpoints, arrays = checkpoints_of(folder), {'a': np.zeros(2, 'float32')}
    checkpoints.save(3, arrays, STATE)
    assert Progress().resume(folder, StubLearner(), adapt)
    refused = 0
    for mutant in mutants(STATE):
        checkpoints.save(3, arrays, mutant)
        try:
            progress, learner = Progress(), StubLearner()
            progress.resume(folder, learner, adapt)
            assert learner.arrays['a'].shape == (2,) and learner.total >= 0
            assert progress.epoch + progress.batch >= 0 and progress.best.accuracy + 0 < 1e400
        except CheckpointError:
            refused += 1
    assert refused > 100
    checkpoints.save(3, arrays, STATE)
    checkpoints.save(3, arrays, {})
    with pytest.raises(CheckpointError):
        Progress().resume(folder, StubLearner(), adapt)
    _, refused = check(str(tmp_path / 'checkpoints' / '0000000003' / 'manifest.json'), checkpoints.latest)
    assert refused > 10
