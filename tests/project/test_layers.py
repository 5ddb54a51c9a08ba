"""The source's imports respect the layers of docs/architecture.md."""
import ast
import graphlib
import re

from tests.helpers.paths import ROOT
from tests.helpers.processes.fresh_python import output_of

ROW = re.compile(r'^\| (\d+) \| (.+?) \|', re.M)


def layers():
    """Return {folder or file of the package: layer} from the document's table."""
    rows = ROW.findall((ROOT / 'docs' / 'architecture.md').read_text('utf-8'))
    return {name: int(number) for number, places in rows
            for name in re.findall(r'`(\w+)(?:/|\.py)`', places.split(' with ')[0])}


# A module may import from its own layer or below. Top-level modules are on the ground layer, except those
# that start a program and the one that loads the public names.
LAYERS = {**layers(), '__init__': 7, '__main__': 7}
PACKAGE = ROOT / 'openatac'
FILES = {'.'.join(path.relative_to(ROOT).with_suffix('').parts).replace('.__init__', ''): path
         for path in sorted(PACKAGE.rglob('*.py'))}


def folder(module):
    """Return the folder or file of the package that a module belongs to."""
    return module.split('.')[1] if '.' in module else '__init__'


def layer(module):
    return LAYERS.get(folder(module), 0)


def imports_of(source):
    """Return the modules of this project that a source file imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'line {node.lineno}: a relative import'
            members = [f'{node.module}.{alias.name}' for alias in node.names]
            names = [member if member in FILES else node.module for member in members]
        yield from (name for name in names
                    if name.split('.')[0] in ('openatac', 'train_cifar', 'train_imagenet'))


def graph():
    """Return {module: imported modules}."""
    return {module: set(imports_of(path.read_text('utf-8'))) for module, path in FILES.items()}


def test_no_module_imports_from_a_layer_above():
    wrong = [f'{module} imports {imported}' for module, imports in graph().items() for imported in imports
             if imported not in FILES or layer(imported) > layer(module)]
    assert not wrong


def test_each_folder_has_a_layer():
    assert {path.parent.name for path in PACKAGE.glob('*/__init__.py')} <= set(LAYERS)


def test_module_imports_have_no_cycles():
    graphlib.TopologicalSorter(graph()).prepare()  # raises CycleError, which names the cycle


def test_folder_imports_have_no_cycles():
    folders = {}
    for module, imports in graph().items():
        folders.setdefault(folder(module), set()).update(map(folder, imports))
    for name, others in folders.items():
        others.discard(name)
    graphlib.TopologicalSorter(folders).prepare()


def test_imports_within_a_folder_have_no_cycles():
    def place(module):  # a file in the folder, or a folder in it, such as openatac.data.images
        return '.'.join(module.split('.')[:3])

    places = {}
    for module, imports in graph().items():
        places.setdefault(place(module), set()).update(
            place(imported) for imported in imports if folder(imported) == folder(module))
    for name, others in places.items():
        others.discard(name)
    graphlib.TopologicalSorter(places).prepare()


def test_folder_has_at_most_about_a_dozen_files():
    """The folder of the commands is exempt, as it has one file for each."""
    folders = [PACKAGE, *(path for path in PACKAGE.rglob('*') if path.is_dir() and path.name != 'commands')]
    crowded = {path.name: files for path in folders
               if (files := sum(child.suffix == '.py' and child.name != '__init__.py'
                                for child in path.iterdir())) > 13}
    assert not crowded


def test_every_import_form_is_recognised():
    source = ('import openatac.zoo.names as zoo\n'
              'def late():\n'
              '    from openatac.nn import atac\n'
              '    from openatac.errors import DataError\n'
              'from openatac import get_model\n')
    assert sorted(imports_of(source)) == [
        'openatac', 'openatac.errors', 'openatac.nn.atac', 'openatac.zoo.names']


def test_importing_the_package_loads_nothing_heavy():
    heavy = ['mxnet', 'numpy', 'torch', 'onnx', 'matplotlib', 'pandas', 'cv2', 'wandb', 'gluoncv', 'sklearn']
    assert output_of(f'import sys, openatac; print([n for n in {heavy!r} if n in sys.modules])') == '[]'
