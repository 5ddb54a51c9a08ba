"""CSV files are read as they were written, and spreadsheets see no formulas in them."""
import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openatac.files.csv_file import escape_formula, read_csv, write_csv

FORMULA = "=cmd|'/c calc'!A1"


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
