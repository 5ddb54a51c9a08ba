"""Write the page of all commands from the catalogue and their parsers; docs/fill_tables.py calls this."""
import argparse
import contextlib
import html
import importlib
from pathlib import Path
from unittest.mock import patch

from openatac.commands.shared.catalogue import COMMANDS, GROUPS

DOCS = Path(__file__).resolve().parent
MARK = '<!-- docs/fill_tables.py writes the rest -->\n'
SECTIONS = {  # of the page of a command, if it is not the whole page
    'doctor': 'check-the-installation', 'completion': 'completion-in-your-shell', 'pack': 'from-record-files',
    'plan': 'how-long-will-it-take', 'evaluate-imagenet': 'a-run-or-a-parameter-file',
    'gates': 'what-gates-do', 'costs': 'what-networks-cost', 'models': 'the-bundled-networks',
    'bench': 'measure-the-speed',
}


def commands(text):
    """Return the page with a table of all commands and, for each, its description, flags and examples."""
    lines = ['| task | command | what it does |', '|---|---|---|']
    for group, members in GROUPS.items():
        for name, command in members.items():
            lines.append(f'| {group} | [`openatac {name}`](#openatac-{name}) | {command.summary} |')
            group = ''
    for name in COMMANDS:
        lines += ['', *section(name)]
    return text.partition(MARK)[0] + MARK + '\n' + '\n'.join(lines) + '\n'


def section(name):
    """Yield the lines on one command."""
    command, parser = COMMANDS[name], parser_of(name)
    title = (DOCS / command.page).read_text('utf-8').split('\n')[0].lstrip('# ')
    anchor = f'#{SECTIONS[name]}' if name in SECTIONS else ''
    yield f'## `openatac {name}`\n'
    yield html.escape(parser.description.rstrip(), quote=False)
    for group in parser._action_groups:
        yield from table(group)
    yield from ('\n```text', *command.lines(name), '```\n')
    yield f'See [{title}](../{command.page}{anchor}).'


def parser_of(name):
    """Return the parser of a command, with the defaults that its help shows."""
    parsers = []
    module = importlib.import_module(f'openatac.commands.{name.replace("-", "_")}')
    with patch.object(argparse.ArgumentParser, 'print_help', lambda self, file=None: parsers.append(self)), \
            contextlib.suppress(SystemExit):
        module.main(['--help'])
    return parsers[0]


def table(group):
    """Yield the lines of the table of a group of arguments."""
    actions = [action for action in group._group_actions
               if action.help != argparse.SUPPRESS and '--help' not in action.option_strings]
    if not actions:
        return
    title = 'arguments' if group.title == 'positional arguments' else group.title
    yield f'\n| {title.replace("optional arguments", "options")} | meaning |\n|---|---|'
    formatter = argparse.HelpFormatter('')
    for action in actions:
        text = formatter._expand_help(action) if action.help else ''
        yield f'| {cell(invocation(action), "code")} | {cell(text)} |'


def invocation(action):
    """Return the spellings of an argument with its value, alike in all versions of Python."""
    value = action.metavar or ('{' + ','.join(map(str, action.choices)) + '}' if action.choices
                               else action.dest.upper())
    if not action.option_strings:
        return str(value)
    names = ', '.join(action.option_strings)
    return names if action.nargs == 0 else f'{names} {value}'


def cell(text, tag=''):
    """Return a text as a cell of a table."""
    text = html.escape(text, quote=False).replace('|', '&#124;')
    return f'<{tag}>{text}</{tag}>' if tag else text
