"""The documents are true: their files, links and figures exist, and their code runs.

Python blocks run page by page. Commands run in a folder with small inputs under the names in the documents;
training runs are dry runs of one small batch. Commands after `<!-- parsed only: REASON -->`, and those that
need PyTorch where it is missing, are only parsed by their own parsers.
"""
import argparse
import ast
import functools
import importlib
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import openatac
import train_cifar
import train_imagenet
from openatac.commands.shared.catalogue import COMMANDS
from openatac.training.recipes import CIFAR, IMAGENET
from tests.helpers.images.made_up_images import CIFAR100, write_cifar, write_photos
from tests.helpers.pages.documents import DOCUMENTS, anchors_of, blocks_of, links_of, prose_of, text_of
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import call_command, rows_of
from tests.helpers.processes.scripts import run_in_process

IN_CODE = re.compile(r'`((?:openatac|tests|docs|examples|benchmarks|results|\.ci)/[\w./]+)`')
IN_PATH = re.compile(r'^\| \d+ \| `([\w/]+\.py)`', re.MULTILINE)
CONTINUED = ('docs/reference/api.md',)  # by docs/site/hooks.py
TABLES = runpy.run_path(str(ROOT / 'docs' / 'fill_tables.py'))['PAGES']
SCRIPTS = {'train_cifar.py': train_cifar, 'train_imagenet.py': train_imagenet}
LANGUAGES = {'python', 'bash', 'text', 'dockerfile'}
WITH_CODE = [document for document in DOCUMENTS
             if {block.language for block in blocks_of(document)} & {'python', 'bash'}
             and not document.startswith('docs/tutorials/')]  # these run in `make docs`
SHORT = {  # flags that make a documented command fast
    'train-cifar': ['--dry-run', '1', '--batch-size', '4'],
    'train-imagenet': ['--dry-run', '1', '--batch-size', '2', '--input-size', '32', '-j', '0'],
    'evaluate-imagenet': ['-j', '0', '--num-gpus', '0'],
    'bench': ['--rounds', '1', '--seconds', '0.05', '--engines', 'static', '--batch-sizes', '1'],
}
NOT_TRAINING = {'--evaluate', '--write-initial', '--print-config', '--help', '--summary'}


# ------------------------------------------------------------------------- files, links, figures

@pytest.mark.parametrize('document', DOCUMENTS)
def test_files_named_in_documents_exist(document):
    text = text_of(document)
    named = [ROOT / name for name in IN_CODE.findall(text)]
    named += [ROOT / 'openatac' / name for name in IN_PATH.findall(text)]
    assert not [str(each) for each in named if not each.exists()]


@pytest.mark.parametrize('document', DOCUMENTS)
def test_link_targets_exist(document):
    for link in links_of(document):
        if re.match(r'https://[\w.-]+(/\S*)?$', link):
            continue
        path, _, anchor = link.partition('#')
        target = os.path.normpath(Path(document).parent / path) if path else document
        assert (ROOT / target).exists(), link
        assert not anchor or target in CONTINUED or anchor in anchors_of(target), link


def test_architecture_names_every_folder():
    text = text_of('docs/architecture.md')
    folders = {path.parent.name for path in (ROOT / 'openatac').rglob('__init__.py')} - {'openatac'}
    assert not [folder for folder in sorted(folders) if f'`{folder}/`' not in text]


def test_readme_fits_on_a_page_and_links_every_how_to():
    assert len(text_of('README.md').splitlines()) <= 150
    assert {f'docs/how-to/{path.name}' for path in (ROOT / 'docs' / 'how-to').glob('*.md')} <= set(
        links_of('README.md'))


def test_every_page_is_in_the_navigation_and_the_index():
    navigation = (ROOT / 'docs' / 'site' / 'mkdocs.yml').read_text('utf-8')
    pages = [document.removeprefix('docs/') for document in DOCUMENTS if document.startswith('docs/')]
    assert not [page for page in pages if not re.search(rf'[ ]{re.escape(page)}$', navigation, re.MULTILINE)]
    assert not {*pages} - {'index.md'} - {link.partition('#')[0] for link in links_of('docs/index.md')}


@pytest.mark.parametrize('document', ['README.md', 'docs/results.md'])
def test_documented_accuracies_equal_the_results(document):
    recorded = ''.join(path.read_text('utf-8') for path in (ROOT / 'results').rglob('*')
                       if path.name in ('comparison.md', 'runs.csv'))
    numbers = re.findall(r'[-+]?\d\.\d{4}\b', prose_of(document))
    assert numbers
    assert not [number for number in numbers if number not in recorded]


@pytest.mark.parametrize('document', ['docs/how-to/compare.md', 'docs/results.md'])
def test_documented_hours_equal_the_logs(document):
    hours = [sum(map(float, re.findall(r' time: ([\d.]+)$', path.read_text('utf-8'), re.MULTILINE))) / 3600
             for path in (ROOT / 'results' / 'cifar10_40_epochs').glob('runs/*/train.log')]
    assert f'{min(hours):.0f} to {max(hours):.0f} hours' in ' '.join(prose_of(document).split())


def test_readme_costs_of_atac_equal_the_measured_costs():
    """The README states the training time relative to ReLU's."""
    rows = rows_of(ROOT / 'results' / 'training_engines.csv')
    speed = {row['network']: float(row['images_per_second']) for row in rows if row['engine'] == 'MXNet'}
    ratio = speed['cifar_resnet8_v2_relu'] / speed['cifar_resnet8_v2_atac']
    assert f'{ratio:.1f} times' in ' '.join(prose_of('README.md').split())


@pytest.mark.parametrize('page, filled', TABLES.items())
def test_generated_tables_are_current(page, filled):
    text = text_of(f'docs/{page}')
    assert filled(text) == text, 'python docs/fill_tables.py'


def test_public_names_and_extras_are_documented():
    names = text_of('docs/reference/api.md')
    public = {*openatac.__all__, *(f'pytorch.{name}' for name in names_in_pytorch())} - {'__version__'}
    assert not [name for name in public if f'`openatac.{name}`' not in names]
    extras = re.findall(r'^([\w-]+) = \[', metadata_section('project.optional-dependencies'), re.MULTILINE)
    install = text_of('docs/install.md')
    assert not [extra for extra in extras if f'`{extra}`' not in install and extra != 'mxnet-needs']


def names_in_pytorch():
    """Return the names that openatac.pytorch exports, even where PyTorch is missing."""
    return ast.literal_eval(text_of('openatac/pytorch/__init__.py').split('__all__ = ')[1])


def test_recipe_table_equals_the_recipes():
    rows = re.findall(r'^\| `(\w+_atac|digits)` \| (.+?) \| `(.+?)` \| (\d+) \|',
                      text_of('docs/how-to/reproduce.md'), re.MULTILINE)
    shown = {name: (data.replace('-', '').lower().split(', '), network, int(epochs))
             for name, data, network, epochs in rows}
    cifar = {name: ([recipe['dataset'], *([f'{recipe["cifar100_labels"]} labels']
                                          if 'cifar100_labels' in recipe else [])],
                    f'cifar_resnet{6 * recipe["blocks"] + 2}_v2_{recipe["model"]}', recipe['num_epochs'])
             for name, recipe in CIFAR.items()}
    imagenet = {name: (['imagenet'], 'resnet50_v1b_atac', recipe['num_epochs'])
                for name, recipe in IMAGENET.items()}
    assert shown == {**cifar, **imagenet}


def metadata_section(name):
    return (ROOT / 'pyproject.toml').read_text('utf-8').split(f'[{name}]\n')[1].split('\n[')[0]


# ---------------------------------------------------------------------------------------- code

def has_torch():
    try:
        pytest.importorskip('torch')
    except pytest.skip.Exception:
        return False
    return True


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A folder with the inputs of the documented commands, under the names that they use."""
    home, world = tmp_path_factory.mktemp('home'), tmp_path_factory.mktemp('world')
    write_cifar(home / 'datasets' / 'cifar10' / 'cifar-10-batches-bin')
    write_cifar(home / 'datasets' / 'cifar100' / 'cifar-100-binary', CIFAR100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MXNET_HOME', str(home))
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.setenv('PYTHONPATH', str(ROOT))
        patch.chdir(world)
        write_inputs()
        yield world


def write_inputs():
    for folder, seed in (('photos/train', 0), ('photos/test', 1), ('imagenet/train', 2), ('imagenet/val', 3)):
        write_photos(folder, images=12, seed=seed)
        for label in range(2):
            os.rename(f'{folder}/class{label}', f'{folder}/{label}')
    shutil.copytree('photos/test/0', 'list-folder')
    Path('list.csv').write_text(''.join(f'{name},0\n' for name in sorted(os.listdir('list-folder'))))
    Path('list.lst').write_text(''.join(f'{index}\t{index % 2}\t{index % 2}/{index:03}.jpg\n'
                                        for index in range(12)))
    assert call_command('pack', 'imagenet/val', 'val') == 0
    # Runs as in the first pages of the documents.
    short = ['--num-epochs', 1, '--lr-decay-epoch', '']
    assert run_in_process('--recipe', 'digits', *short, '--save-dir', 'run') == 0
    assert run_in_process('--dataset', 'folder', '--data-dir', 'photos', '--blocks', 1, '--batch-size', 8,
                          *short, '--save-dir', 'cats') == 0
    shutil.copytree('cats', 'mine')
    shutil.copytree('cats', 'tuned')
    shutil.copytree('run', 'full')
    shutil.copytree('run', 'params/run')
    shutil.copy('run/sample.png', 'photo.jpg')
    shutil.copytree('run', 'cifar10-units/runs/b1-atac-seed0')
    shutil.copytree('run', 'cifar10-more/runs/b1-atac-seed0')
    shutil.copytree(ROOT / 'results' / 'cifar10_40_epochs', 'results/cifar10_40_epochs')
    assert run_in_process('--data-dir', 'imagenet', '--input-size', 32, '--batch-size', 6, '-j', 0, *short,
                          '--save-dir', 'resnet', script=train_imagenet) == 0
    command('export', ['run', 'export/atac', '--fuse', '--onnx', '--int8'], runs=True)


@pytest.mark.release
@pytest.mark.parametrize('document', WITH_CODE)
def test_documented_code_runs(document, world, restored_registries, capfd):
    names = {}
    for block in blocks_of(document):
        assert block.language in LANGUAGES, block
        runs = not block.reason and ('torch' not in block.text or has_torch())
        if block.language == 'python' and runs:
            exec(compile(block.text, str(block), 'exec'), names)
        elif block.language == 'python':
            compile(block.text, str(block), 'exec')
        elif block.language == 'bash':
            for words in block.commands():
                try:
                    HANDLERS[words[0]](words, runs)
                except BaseException as error:
                    raise AssertionError(f'{block}: {" ".join(words)}: {error!r}\n'
                                         f'{capfd.readouterr().err[-2000:]}') from error


@pytest.mark.parametrize('name', COMMANDS)
def test_help_examples_are_valid(name):
    for line in COMMANDS[name].lines(name):
        command_line = re.sub(' >.*', '', line)  # the shell handles the redirected output
        HANDLERS['openatac'](shlex.split(command_line), False)
    assert (ROOT / 'docs' / COMMANDS[name].page).is_file()


# A command's handler takes its words, and whether to run it.

def make(words, runs):
    """Check that targets exist. None is run, since the tests are one of them."""
    if '-C' in words:
        assert (ROOT / words[words.index('-C') + 1] / 'Makefile').is_file()
        return
    targets = [word for word in words[1:] if '=' not in word]
    known = (ROOT / 'Makefile').read_text('utf-8')
    assert targets and not [name for name in targets if not re.search(rf'^{name}:', known, re.MULTILINE)]


def pip(words, runs):
    """Check that extras exist."""
    assert words[1] == 'install'
    extras = metadata_section('project.optional-dependencies')
    for word in words[2:]:
        for extra in re.sub(r'^\.\[(.*)\]$', r'\1', word).split(',') if word.startswith('.[') else []:
            assert re.search(rf'^{extra} = \[', extras, re.MULTILINE), extra


def python(words, runs):
    script = words[1]
    if script == '-c':
        code = compile(words[2], script, 'exec')
        if runs:
            exec(code, {})
        return
    assert (ROOT / script).is_file(), script
    if script in SCRIPTS:
        command('train-' + script[len('train_'):-len('.py')], words[2:], runs)
    elif runs:
        assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, str(ROOT / script), *words[2:]]) == 0


def torchrun(words, runs):
    """Parse the words after -m."""
    openatac_command(words[words.index('-m') + 1:], False)


def openatac_command(words, runs):
    if words[1] == '--help':
        return
    assert words[1] in COMMANDS, words[1]
    command(words[1], words[2:], runs)


def command(name, words, runs):
    """Run a command, or parse it if it would train many networks."""
    if not runs or name == 'launch' or '--units' in words:
        parse(name, words)
    else:
        assert exit_code(name, *words) == 0, (name, *words)


@functools.cache  # several documents contain the same command
def exit_code(name, *words):
    trains = name.startswith('train-') and not NOT_TRAINING & set(words)
    flags = SHORT.get(name, []) if trains or not name.startswith('train-') else []
    if trains:
        flags = [*flags, '--save-dir', f'dry-run-{len(os.listdir())}']
    if name.startswith('train-'):
        return run_in_process(*words, *flags, script=SCRIPTS[name.replace('-', '_') + '.py'])
    return call_command(name, *words, *flags)


class Parsed(BaseException):
    """Raised when the command's own parser has accepted the command line."""


def parse(name, words):
    """Parse the words with the command's own parser, and those after -- with a training's."""
    words, rest = (words[:words.index('--')], words[words.index('--') + 1:]) if '--' in words else (words, [])
    module = importlib.import_module(f'openatac.commands.{name.replace("-", "_")}')
    with pytest.MonkeyPatch.context() as patch:
        for name_of_method in ('parse_args', 'parse_intermixed_args'):
            method = getattr(argparse.ArgumentParser, name_of_method)
            patch.setattr(argparse.ArgumentParser, name_of_method, only_parsing(method))
        with pytest.raises(Parsed):
            module.main([*words, *(['--', *rest] if name == 'launch' else [])])
    if rest and name == 'launch':
        HANDLERS[rest[0]](rest, False)
    elif rest:
        parse('train-cifar', rest)


def only_parsing(method):
    def parse_args(self, *arguments, **options):
        method(self, *arguments, **options)
        raise Parsed

    return parse_args


def only_shown(words, runs):
    """Accept a command of another project, without running it."""
    assert not runs


HANDLERS = {'make': make, 'pip': pip, 'python': python, 'torchrun': torchrun, 'openatac': openatac_command,
            'curl': only_shown, 'docker': only_shown, 'git': only_shown, '.': lambda words, runs: None}
