"""The floors of the package: who may import whom, read from the source (see README, architecture)."""
import ast

import pytest

from tests.conftest import ROOT
from tests.fresh_python import output_of

FLOOR = {'openatac.nn': 1, 'openatac.data': 1, 'openatac.models': 2, 'openatac.engines': 3,
         'openatac.training': 4, 'openatac.deploy': 5, 'openatac.study': 6}
ROOT_FLOORS = {0: ['version', 'errors', 'escapes', 'inputs', 'files', 'schema', 'checksums', 'signals',
                   'arguments', 'environment', 'streams', 'pictures', 'libraries', 'old_numpy', 'processor',
                   'runtime', 'program'],
               7: ['__init__', 'cli', '__main__']}
SCRIPTS = 8

# Within one package, the files of a line may import those of the lines above it, and nothing else.
ORDER = {
    'openatac.nn': ['atac group_norm frelu xunit augmented_conv local_self_attention',
                    'activations attention'],
    'openatac.data': ['augment imageset plain_pickle download', 'cifar digits loader', 'records bad_images',
                      'image_folder image_codec', 'photos photo_workers', 'photo_batches pack'],
    'openatac.models': ['placement params_layout replacement', 'parameters',
                        'cifar_resnet cifar_resnet18 resnet_v1b', 'zoo'],
    'openatac.training': ['recipes schedule datasets curves objective loss_scale roll_call cpu_graph teacher '
                          'run_files', 'initial', 'parameter_server clusters engine_flags step_graph',
                          'distributed cpu_step', 'tracking flags checkpoint',
                          'imagenet_flags gluon_engine launch contention',
                          'gluon_network torch_network cifar_network imagenet_network', 'networks', 'loop',
                          'session dry_run', 'cifar imagenet', 'evaluate_imagenet'],
    'openatac.engines': ['pytorch params_file mixing alone engine foreign_symbol', 'symbol_json',
                         'torch_operators gluon_graph nag torch_objective torch_batches',
                         'torch_graph', 'torch_engine'],
    'openatac.deploy': ['description file_set fuse proof symbol_graph onnx_graph',
                        'symbol images onnx_operators', 'onnx quantize labelled', 'onnx_int8',
                        'bundle trained engines gate_maps', 'export predict'],
    'openatac.study': ['costs published text_table runs gate_statistics gate_picture bench_process '
                       'bench_picture', 'comparison run_queue finished', 'accuracy_picture', 'report_page',
                       'comparison_files', 'compare demo plan cost_table gates bench', 'published_costs',
                       'training_time', 'published_report', 'published_table'],
}

FILES = sorted((ROOT / 'openatac').rglob('*.py')) + sorted(ROOT.glob('train_*.py'))
MODULES = {'.'.join(path.relative_to(ROOT).with_suffix('').parts).replace('.__init__', '') for path in FILES}


def place(module):
    """(floor, package, line in the package's order) of a module."""
    if module in FLOOR:  # the package itself may import all its files, and none of them imports it
        return FLOOR[module], module, len(ORDER[module])
    package, _, name = module.rpartition('.')
    if package in FLOOR:
        lines = [line for line, names in enumerate(ORDER[package]) if name in names.split()]
        assert lines, '%s has no place yet in ORDER' % module
        return FLOOR[package], package, lines[0]
    if module.startswith('train_'):
        return SCRIPTS, module, 0
    name = '__init__' if module == 'openatac' else name
    floors = [floor for floor, names in ROOT_FLOORS.items() if name in names]
    assert floors, '%s has no floor yet' % module
    return floors[0], 'openatac', ROOT_FLOORS[floors[0]].index(name)


def may_import(importer, imported):
    floor, package, line = place(importer)
    other_floor, other_package, other_line = place(imported)
    if floor != other_floor:
        return floor > other_floor
    return package == other_package and line > other_line


def imports_of(source):
    """The modules of this project that a source imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'line %d: a relative import' % node.lineno
            members = ['%s.%s' % (node.module, alias.name) for alias in node.names]
            names = [member if member in MODULES else node.module for member in members]
        yield from (name for name in names if name.startswith(('openatac', 'train_')))


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_below(path):
    module = '.'.join(path.relative_to(ROOT).with_suffix('').parts).replace('.__init__', '')
    wrong = [name for name in imports_of(path.read_text('utf-8')) if not may_import(module, name)]
    assert not wrong, '%s may not import %s' % (module, ', '.join(wrong))


@pytest.mark.parametrize('importer, imported', [
    ('openatac.nn.atac', 'openatac.models.zoo'),           # upwards
    ('openatac.data.loader', 'openatac.nn.atac'),          # beside
    ('openatac.training.gluon_engine', 'openatac'),        # the root
    ('openatac.nn.atac', 'openatac.nn.activations'),       # against the order of the package
    ('openatac.data.cifar', 'openatac.data.digits'),       # on the same line of it
    ('openatac.errors', 'openatac.runtime'),
    ('openatac.cli', 'train_cifar'),
])
def test_what_is_forbidden(importer, imported):
    assert not may_import(importer, imported)


def test_every_form_of_import_is_seen():
    source = ('import openatac.models.zoo as zoo\n'
              'def late():\n'
              '    from openatac.nn import atac\n'
              '    from openatac.errors import DataError\n'
              'from openatac import get_model\n')
    assert sorted(imports_of(source)) == [
        'openatac', 'openatac.errors', 'openatac.models.zoo', 'openatac.nn.atac']


def test_importing_the_package_loads_nothing_heavy():
    heavy = ['mxnet', 'numpy', 'torch', 'onnx', 'matplotlib', 'pandas', 'cv2', 'wandb', 'gluoncv', 'sklearn']
    assert output_of('import sys, openatac; print([n for n in %r if n in sys.modules])' % heavy) == '[]'
