"""Flags that take a number refuse text, other kinds of numbers and numbers out of bounds."""
import argparse

import pytest

from openatac.options.command_line import flag_spellings
from openatac.options.declaration import option_fields
from openatac.options.flag_types import Number
from openatac.training.config import CifarConfig
from tests.helpers.processes.scripts import script_error

pytestmark = pytest.mark.usefixtures('isolated_cwd')

NUMERIC = {flag_spellings(name, field)[-1]: field.option.parse
           for name, field in option_fields(CifarConfig).items() if isinstance(field.option.parse, Number)}
WHOLE = {name for name, parse in NUMERIC.items() if parse.kind is int}
FROM_ZERO = {'--momentum', '--wd', '--drop-rate', '--seed', '--act-layers', '--save-period', '--num_workers',
             '--lr-decay-period', '--val-split', '--val-seed', '--max-bad-share'}


def test_all_numeric_flags_are_tested():
    """Add a new numeric flag to the right list here; one without bounds would be missing."""
    assert set(NUMERIC) == FROM_ZERO | {
        '--blocks', '--r', '--reduction', '--batch-size', '--num-epochs', '--lr', '--lr-decay',
        '--head-lr-mult', '--log-interval', '--dry-run', '--image-size'}
    assert set(NUMERIC) - WHOLE == {'--r', '--reduction', '--lr', '--lr-decay', '--head-lr-mult',
                                    '--momentum', '--wd', '--drop-rate', '--val-split',
                                    '--max-bad-share'}


FOR_EACH = ['nan', '-1', 'abc', '0', '0.5', '1e300']
FOR_EACH_KIND = ['inf', '-inf', '-0.5', '1e400', '-1e400', '', ' ', '1,5', '0x10', '1 2', '1e-300',
                 '9' * 5000]


@pytest.mark.parametrize('name, value', [
    *[(name, value) for name in sorted(NUMERIC) for value in FOR_EACH],
    *[(name, value) for name in ('--lr', '--batch-size') for value in FOR_EACH_KIND],
], ids=lambda text: text[:10])
def test_invalid_numbers_are_refused(capsys, name, value):
    taken = {'0': FROM_ZERO, '0.5': set(NUMERIC) - WHOLE - {'--r', '--reduction'}}
    if name in taken.get(value, ()):
        assert NUMERIC[name](value) == float(value)
    elif value == '9' * 5000 and name in WHOLE:
        with pytest.raises(argparse.ArgumentTypeError):
            NUMERIC[name](f'{value}.')
    else:
        assert name in script_error(capsys, 2, name + '=' + value)
