"""What tests, benchmarks and scripts import from the package exists; nothing else reads all of them."""
import ast
import enum
import importlib

import pytest

from tests.helpers.paths import ROOT

FOLDERS = 'tests', 'benchmarks', 'docs', 'examples', '.ci'
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py'))


def imported(tree):
    """Yield (alias in the file, module, name) of each import of a name from the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'openatac':
            for alias in node.names:
                yield alias.asname or alias.name, node.module, alias.name


def value_of(module, name):
    """Return what ``from module import name`` gives; None if a library that it needs is not installed."""
    try:
        found = importlib.import_module(module)
        return getattr(found, name) if hasattr(found, name) else importlib.import_module(f'{module}.{name}')
    except ModuleNotFoundError as error:
        if error.name.startswith('openatac'):
            raise
        return None


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imported_names_and_members_of_enums_exist(path):
    tree = ast.parse(path.read_text())
    values = {alias: value_of(module, name) for alias, module, name in imported(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = values.get(node.value.id)
            if isinstance(value, enum.EnumMeta):
                assert hasattr(value, node.attr), f'{node.value.id} has no {node.attr}'
