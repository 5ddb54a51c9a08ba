"""Fill the tables of docs/ that show what is declared elsewhere: python docs/fill_tables.py.

- results.md: before each of the two tables of results/NAME/comparison.md stands `<!-- results/NAME -->`,
  in order.
- explanation/int8.md: the table of results/int8_accuracy.csv, after a line with that name.
- reference/commands.md: all commands and their flags (see docs/commands_page.py).
- reference/api.md: after each name, its arguments and the beginning of its docstring.
"""
import ast
import re
import runpy
from collections import Counter
from pathlib import Path

import openatac
from openatac.files.csv_file import read_csv

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
TABLE = re.compile(r'(?:^\|.*\n)+', re.MULTILINE)
COMMANDS = runpy.run_path(str(DOCS / 'commands_page.py'))['commands']
NAME = re.compile(r'^\| `(openatac[\w.]+)` \|.*$', re.MULTILINE)


def results(text):
    """Return the page with the tables that the comparisons have now."""
    seen = Counter()

    def table(match):
        tables = TABLE.findall((ROOT / match[1] / 'comparison.md').read_text('utf-8'))
        seen[match[1]] += 1
        return f'<!-- {match[1]} -->\n\n{tables[seen[match[1]] - 1]}\n'

    return re.sub(rf'<!-- (results/\w+) -->\n\n(?:{TABLE.pattern}\n)?', table, text, flags=re.MULTILINE)


def int8(text):
    """Return the page with the table of what INT8 costs in accuracy."""
    source = 'results/int8_accuracy.csv'
    rows = runpy.run_path(str(ROOT / 'benchmarks' / 'int8_accuracy.py'))['table'](read_csv(ROOT / source))
    before, line, after = text.partition(f'<!-- {source} -->\n')
    return before + line + '\n' + rows + '\n\n' + TABLE.sub('', after, count=1).lstrip('\n')


def names(text):
    """Return the page with the arguments and the summary of each name in its tables."""
    def row(match):
        place = definition(match[1])
        node = found(place)
        return f'| `{match[1]}` | {arguments(node, place.rpartition(".")[0])} | {summary(node)} |'

    return NAME.sub(row, text)


def definition(name):
    """Return where a public name is defined: openatac.nn.atac.ChaATAC of openatac.ChaATAC."""
    package, _, short = name.rpartition('.')
    if package == 'openatac':
        return f'{openatac._PUBLIC[short]}.{short}'
    if package == 'openatac.pytorch':
        return next(f'{node.module}.{short}' for node in syntax(package) if isinstance(node, ast.ImportFrom)
                    and short in {alias.name for alias in node.names})
    return name


def found(name):
    """Return the syntax tree of a class or function."""
    module, _, name = name.rpartition('.')
    return next(node for node in syntax(module) if getattr(node, 'name', None) == name)


def syntax(module):
    """Return the statements of a module, which is not imported."""
    path = ROOT / module.replace('.', '/')
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    return ast.parse(path.read_text('utf-8')).body


def arguments(node, module):
    """Return what a function or a class takes, without annotations; '' for a class that does not say it."""
    if isinstance(node, ast.ClassDef):
        if 'NamedTuple' in map(ast.unparse, node.bases):
            return f'`({", ".join(each.target.id for each in node.body if isinstance(each, ast.AnnAssign))})`'
        node = next((each for each in node.body if getattr(each, 'name', None) == '__init__'), None)
        if not node:
            return ''
    taken = node.args
    for each in ast.walk(taken):
        if isinstance(each, ast.arg):
            each.annotation = None
    taken.defaults, taken.kw_defaults = ([shown(each, module) if each else None for each in values]
                                         for values in (taken.defaults, taken.kw_defaults))
    return f'`({re.sub("^self(, )?", "", ast.unparse(taken))})`'


def shown(default, module):
    """Return a default value, if it says something outside of its module, or `...`."""
    if isinstance(default, ast.Name):
        default = constant(default.id, module)
    return default if isinstance(default, (ast.Constant, ast.Tuple, ast.Attribute)) else ast.Constant(...)


def constant(name, module):
    """Return the value of a module's constant, which another module may define."""
    for node in syntax(module):
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return node.value
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return constant(name, node.module)
    return None


def summary(node):
    """Return the first paragraph of the docstring of a class or function."""
    paragraph = ' '.join(ast.get_docstring(node).split('\n\n')[0].split())
    return paragraph.replace('``', '`').replace('|', '&#124;')


PAGES = {'results.md': results, 'explanation/int8.md': int8, 'reference/commands.md': COMMANDS,
         'reference/api.md': names}

if __name__ == '__main__':
    for page, fill in PAGES.items():
        text = (DOCS / page).read_text('utf-8')
        (DOCS / page).write_text(fill(text), 'utf-8')
