"""Fill the tables of docs/ that show what is declared elsewhere: python docs/fill_tables.py.

- results.md: before each of the two tables of results/NAME/comparison.md stands `<!-- results/NAME -->`,
  in order.
- reference/commands.md: the commands of openatac.commands.catalogue, with the title of their page.
- reference/api.md: the docstring of each name begins with the text beside it.
"""
import ast
import re
from collections import Counter
from pathlib import Path

import openatac
from openatac.commands.catalogue import JOBS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
TABLE = re.compile(r'(?:^\|.*\n)+', re.MULTILINE)
NAME = re.compile(r'^\| `(openatac[\w.]+)` \|.*$', re.MULTILINE)


def results(text):
    """Return the page with the tables that the comparisons have now."""
    seen = Counter()

    def table(match):
        tables = TABLE.findall((ROOT / match[1] / 'comparison.md').read_text('utf-8'))
        seen[match[1]] += 1
        return f'<!-- {match[1]} -->\n\n{tables[seen[match[1]] - 1]}\n'

    return re.sub(rf'<!-- (results/\w+) -->\n\n(?:{TABLE.pattern}\n)?', table, text, flags=re.MULTILINE)


def commands(text):
    """Return the page with the table of all commands."""
    rows = ['| to | command | | explained in |', '|---|---|---|---|']
    for job, members in JOBS.items():
        for name, command in members.items():
            title = (DOCS / command.page).read_text('utf-8').split('\n')[0].lstrip('# ')
            rows.append(f'| {job} | `openatac {name}` | {command.summary} | [{title}](../{command.page}) |')
            job = ''
    return TABLE.sub('\n'.join(rows) + '\n', text)


def names(text):
    """Return the page with the summary of each name in its tables."""
    return NAME.sub(lambda match: f'| `{match[1]}` | {summary(definition(match[1]))} |', text)


def definition(name):
    """Return where a public name is defined: openatac.nn.atac.ChaATAC of openatac.ChaATAC."""
    short = name.removeprefix('openatac.')
    return f'{openatac._PUBLIC[short]}.{short}' if short in openatac._PUBLIC else name


def summary(name):
    """Return the first paragraph of the docstring of a class or function; nothing is imported."""
    module, _, name = name.rpartition('.')
    path = ROOT / module.replace('.', '/')
    tree = ast.parse((path / '__init__.py' if path.is_dir() else path.with_suffix('.py')).read_text('utf-8'))
    node = next(node for node in tree.body if getattr(node, 'name', None) == name)
    paragraph = ' '.join(ast.get_docstring(node).split('\n\n')[0].split())
    return paragraph.replace('``', '`').replace('|', '&#124;')


PAGES = {'results.md': results, 'reference/commands.md': commands, 'reference/api.md': names}

if __name__ == '__main__':
    for page, fill in PAGES.items():
        text = (DOCS / page).read_text('utf-8')
        (DOCS / page).write_text(fill(text), 'utf-8')
