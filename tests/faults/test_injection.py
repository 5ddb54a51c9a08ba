"""External text that a spreadsheet, Markdown, HTML, a terminal or matplotlib would interpret is escaped."""
import csv
import logging
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openatac import cli
from openatac.console.log import log_to
from openatac.files.csv_file import escape_formula, read_csv, write_csv
from openatac.study.comparison.copied_runs import without_paths
from openatac.text import for_html, for_markdown, for_terminal, text_table
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.scripts import changed_json

FORMULA = "=cmd|'/c calc'!A1"
EVIL = '\x1b[31mred\x07 <script>alert(1)</script> [x](javascript:y) `a` *b* $\\frac{ \x9b31m'
RUN = 'b1-relu-seed1'


# ----------------------------------------------------------------------------- spreadsheets

@pytest.mark.parametrize('text', [
    FORMULA, '+1+1', '-1+1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '\uff1d1', "'=1", '-', '=='])
def test_formulas_are_escaped_as_text(tmp_path, text):
    path = str(tmp_path / 'x.csv')
    write_csv(path, ['a'], [{'a': text}])
    with open(path, newline='') as handle:
        cell = list(csv.reader(handle))[1][0]
    assert cell == "'" + text
    assert read_csv(path) == [{'a': text}]


@pytest.mark.parametrize('value', [
    '-0.5', '+3', '-1e-7', '1,000', 'seed', '', -0.5, -3, None, "it's", "'quoted'"])
def test_numbers_and_plain_text_are_unchanged(value):
    assert escape_formula(value) is value


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="=+-@'\"\t\r\n, a1"), min_size=2, max_size=3))
def test_cells_are_read_as_they_were_written(tmp_path_factory, cells):
    path = str(tmp_path_factory.getbasetemp() / 'cells.csv')
    names = [f'c{index}' for index in range(len(cells))]
    write_csv(path, names, [dict(zip(names, cells))])
    assert [list(row.values()) for row in read_csv(path)] == [cells]
    with open(path, newline='', encoding='utf-8') as handle:
        assert not any(cell.startswith(tuple('=@\t\r\n')) for cell in list(csv.reader(handle))[1])


# -------------------------------------------------------------------------------- terminals

@pytest.mark.parametrize('text, shown', [
    ('\x1b[2Ja', '\\x1b[2Ja'), ('a\nb', 'a\\nb'), ('a\tb\r', 'a\\tb\\r'), ('\x7f\x9b', '\\x7f\\x9b'),
    (os.fsdecode(b'a\xff'), 'a\\xff'), ('\u202egnp.exe', '\\u202egnp.exe'), ('\ud800', '\\ud800'),
    ('plain é ümlaut 漢字 😀 \\x1b', 'plain é ümlaut 漢字 😀 \\x1b')])
def test_control_characters_are_made_visible(text, shown):
    assert for_terminal(text) == shown


def test_tables_and_the_log_show_control_characters(tmp_path, capsys):
    assert text_table([['a\x1b[0m', 'b\nc']]) == 'a\\x1b[0m  b\\nc'
    log_to()
    log_to(str(tmp_path / 'log'))
    logging.getLogger('openatac').warning('left out %s', 'a\x1b[0m\nb')
    assert '\x1b' not in capsys.readouterr().err
    line, = (tmp_path / 'log').read_text().splitlines()
    assert line.endswith('left out a\\x1b[0m\\nb')


def test_error_is_one_line_without_control_characters(tmp_path, capsys):
    name = str(tmp_path / 'a\x1b[31m\nb')
    assert 'a\\x1b[31m\\nb' in command_error(capsys, 'published', 1, name)


def test_names_of_packed_images_are_escaped(tmp_path):
    folder = tmp_path / 'photos' / 'class\x1b[0m'
    folder.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((8, 8, 3), index, 'uint8')).save(folder / f'{index}.png')
    (folder / 'bad\x1b[1m.png').write_bytes(b'no image')
    result = run_python('-m', 'openatac', 'pack', tmp_path / 'photos', tmp_path / 'out',
                        '--max-bad-share', '0.9')
    assert result.returncode == 0 and '\x1b' not in result.stderr + result.stdout
    assert 'bad\\x1b[1m.png' in result.stderr


# ------------------------------------------------------------------ markdown, HTML, figures

@pytest.mark.parametrize('command, shown', [
    ("train.py --data-dir '/home/me/a b' --save-dir=/tmp/run", "train.py --data-dir 'a b' --save-dir=run"),
    (r"train.py --data-dir 'C:\data\a b' --save-dir=D:/runs/run", "train.py --data-dir 'a b' --save-dir=run"),
    (r"train.py --data-dir '\\server\share\images\'", 'train.py --data-dir images'),
    ("it's no command", "it's no command"), (FORMULA, FORMULA)])
def test_command_is_shown_without_paths(command, shown):
    assert without_paths(command) == shown


def test_markdown_shows_text_literally():
    assert for_markdown('<b>&|`*[x](y)_a_ act_layers 4 1.2.3') == \
        '&lt;b&gt;&amp;\\|\\`\\*\\[x\\](y)\\_a\\_ act_layers 4 1.2.3'
    assert for_markdown('a\n\n# b\x1b[0m') == 'a # b\\[0m'


def test_html_shows_text_literally():
    assert for_html('<a href="x">\x1b\'') == '&lt;a href=&quot;x&quot;&gt;&#x27;'


def test_comparison_escapes_malicious_texts(tmp_path, capsys):
    """The command, a version and the note come from outside."""
    folder = tmp_path / 'runs' / 'one'
    shutil.copytree(ROOT / 'results' / 'cifar10_b1' / 'runs' / RUN, folder)
    with changed_json(folder / 'summary.json') as summary:
        summary['command'], summary['versions']['mxnet'] = FORMULA, EVIL
    assert cli.main(['compare', str(tmp_path), '--note', EVIL]) == 0
    printed = capsys.readouterr().out
    row, = read_csv(str(tmp_path / 'runs.csv'))
    assert row['command'] == FORMULA
    assert f',"\'{FORMULA}' in (tmp_path / 'runs.csv').read_text() or f",'{FORMULA}" in (
        tmp_path / 'runs.csv').read_text()
    markdown, page = ((tmp_path / f'comparison.{kind}').read_text() for kind in ('md', 'html'))
    for text in (markdown, page, printed, (tmp_path / 'note.txt').read_text()):
        assert '\x1b' not in text and '\x9b' not in text and '\x07' not in text
    assert '<script>alert' not in markdown + page + printed
    assert '&lt;script&gt;alert(1)' in markdown and '&lt;script&gt;alert(1)' in page
    assert '\\[x\\](javascript:y)' in markdown
    assert (tmp_path / 'comparison.png').stat().st_size > 1000


def test_dollar_signs_in_a_figure_are_not_formulas(tmp_path):
    from openatac.figures import write_figure
    from openatac.training.tracking.curves_figure import curves_figure
    write_figure(str(tmp_path / 'x.png'), lambda: curves_figure(
        'a $\\frac{ b$', {'$\\x$': {'$\\y$': [1, 2]}, 'b': {'c': [1]}}))
    with Image.open(tmp_path / 'x.png') as figure:
        assert min(figure.size) > 100
