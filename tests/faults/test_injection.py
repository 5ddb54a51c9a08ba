"""Commands, records and names from outside are escaped wherever a terminal, a page or a figure shows them."""
import logging
import shutil

import numpy as np
from PIL import Image

from openatac import cli
from openatac.console.log import log_to
from openatac.files.csv_file import read_csv
from openatac.text import text_table
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.scripts import changed_json

FORMULA = "=cmd|'/c calc'!A1"
EVIL = '\x1b[31mred\x07 <script>alert(1)</script> [x](javascript:y) `a` *b* $\\frac{ \x9b31m'
RUN = 'b1-relu-seed1'


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
