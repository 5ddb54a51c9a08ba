"""A JSON value is checked against its type: only a fitting one is accepted, and an error names the place."""
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict, Union

import pytest

from openatac.files.schema import parse_json, validate
from openatac.limits import Bounds


class Point(NamedTuple):
    x: int
    y: Annotated[float, Bounds(0, 1)] = 0.5


class Options(TypedDict, total=False):
    name: Optional[str]


@pytest.mark.parametrize('wanted, right, wrong', [
    (int, [0, -5, 10 ** 30], [True, 1.0, '1', None, []]),
    (float, [0, 1.5, -3], [True, float('nan'), float('inf'), 10 ** 400, '1']),
    (bool, [True, False], [0, 1, 'true', None]),
    (str, ['', 'a', 'caf\udce9'], [0, None, ['a'], '\ud800']),
    (Any, [None, [], {'a': float('nan')}], []),
    (Optional[int], [None, 1], ['1', 1.5]),
    (Union[Literal[0], Annotated[float, Bounds(0.5, 1)]], [0, 0.5, 1], [0.1, 2, 'x', None, False]),
    (list[int], [[], [1, 2]], [[1, 'a'], {}, 'ab', None]),
    (dict[str, int], [{}, {'a': 1}], [{'a': 'b'}, [], None]),
    (Literal['a', 'b'], ['a'], ['c', None, ['a']]),
    (Options, [{}, {'name': None}, {'name': 'a', 'other': 5}], [{'name': 5}, []])])
def test_validate_accepts_only_fitting_values(wanted, right, wrong):
    for value in right:
        assert validate(value, wanted) == value
    for value in wrong:
        with pytest.raises(ValueError, match='the value'):
            validate(value, wanted, 'the value')


def test_lists_become_tuples():
    assert validate([1, 2], tuple[int, int]) == (1, 2) and validate([1, 2, 3], tuple[int, ...]) == (1, 2, 3)
    assert validate({'x': 1}, Point) == Point(1, 0.5)
    for wrong in ({'y': 1}, {'x': 1, 'y': 2}, {'x': 1, 'z': 0}, [1, 0.5]):
        with pytest.raises(ValueError, match='the point'):
            validate(wrong, Point, 'the point')


def test_error_names_the_place_of_the_value():
    with pytest.raises(ValueError, match=r'points\[1\].y .*3.*\b0\b.*\b1\b'):
        validate({'points': [{'x': 1}, {'x': 1, 'y': 3}]}, dict[str, list[Point]])


def test_endlessly_nested_json_is_refused():
    for text in ('[' * 100_000, '{"a":' * 100_000, '[' * 100_000 + ']' * 100_000):
        with pytest.raises(ValueError):
            parse_json(text)
