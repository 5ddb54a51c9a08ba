"""A seeded mutator that damages files as disks, networks, careless users and attackers do."""
import copy
import json
import re
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

NUMBERS = [0, 1, -1, 2, 127, 255, 2 ** 15, 2 ** 16, 2 ** 31 - 1, -2 ** 31, 2 ** 32, 2 ** 63 - 1, -2 ** 63]
FLOATS = [0.0, -0.0, 1e-40, 3e38, 1e300, float('nan'), float('inf'), -float('inf')]
VALUES = [None, True, False, '', 'x', 'é\x1b[31m', '\ud800', '\0', '../../etc', 'x' * 10_000, [], {}, [[]],
          ['x'], {'a': 1}, [0, 0, 0], 10 ** 30, 10 ** 400, 0.5, *NUMBERS, *FLOATS]
# Texts that no JSON value produces, to replace a value.
TEXTS = ['[' * 100_000, '{"a":' * 100_000, '[' * 500 + ']' * 500, '9' * 5000, '1e999', '-', 'NaN', '\0',
         '"\\u']
MARK = '\ue000the text goes here'


def damage(data: bytes, is_json: bool, random: Random) -> bytes:
    """Return a damaged copy of a file's content; JSON is mostly damaged in its values."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        if is_json and random.random() < 0.9:
            data = _damaged_json(data, random)
        else:
            data = random.choice(BYTES)(data, random)
    return data


# ------------------------------------------------------------------------------------ bytes

def _flip(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1:] if data else data


def _cut(data: bytes, random: Random) -> bytes:
    return data[:_place(data, random)]


def _remove(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + _length(random):]


def _repeat(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    stretch = data[at:at + _length(random)]
    return data[:at] + stretch * random.choice([2, 3, 50]) + data[at + len(stretch):]


def _overwrite(data: bytes, random: Random) -> bytes:
    at, item = _place(data, random), _extreme(random)
    return data[:at] + item + data[at + len(item):]


def _insert(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + _extreme(random) + data[at:]


def _noise(data: bytes, random: Random) -> bytes:
    at, size = _place(data, random), _length(random)
    return data[:at] + random.randbytes(size) + data[at + size:]


def _move(data: bytes, random: Random) -> bytes:
    size = _length(random)
    source, target = _place(data, random), _place(data, random)
    return data[:target] + data[source:source + size] + data[target + size:]


BYTES = [_flip, _flip, _cut, _remove, _repeat, _overwrite, _overwrite, _insert, _noise, _move]


def _place(data: bytes, random: Random) -> int:
    """Return a position anywhere in ``data``, or as often near its ends, where headers and tables are."""
    size = max(len(data), 1)
    near = min(size, 128)
    return random.choice([random.randrange(size), random.randrange(near), size - 1 - random.randrange(near)])


def _length(random: Random) -> int:
    return int(2 ** random.uniform(0, 10))


def _extreme(random: Random) -> bytes:
    """Return the 1 to 8 bytes of an extreme number."""
    if random.random() < 0.2:
        return struct.pack(random.choice(['<d', '>d']), random.choice(FLOATS))
    size = random.choice([1, 2, 4, 8])
    number = random.choice(NUMBERS) % 256 ** size
    return number.to_bytes(size, random.choice(['little', 'big']))


# ------------------------------------------------------------------------------------- JSON

def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the paths to all parts of a JSON value."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
            value, list) else ():
        yield from places(item, (*path, key))


def _damaged_json(data: bytes, random: Random) -> bytes:
    try:
        whole = [json.loads(data)]
        found = list(places(whole))[1:]
    except (ValueError, RecursionError):  # damaged before
        return random.choice(BYTES)(data, random)
    *parents, key = _choose(found, random)
    part = _at(whole, parents)
    kind, text = random.choice([0, 1, 2, 3, 4, 5, 5, 5, 5]), ''
    if kind == 0:
        part[key] = random.choice(VALUES)
    elif kind == 1 and parents:
        del part[key]
    elif kind == 2:
        part[key] = copy.deepcopy(_at(whole, random.choice(found)))
    elif kind == 3:
        part[key], text = MARK, random.choice(TEXTS)
    elif kind == 4 and parents:
        _add(part, key, random)
    else:
        part[key] = _other_number(part[key], random)
    return json.dumps(whole[0]).replace(json.dumps(MARK), text).encode()


def _choose(found: list[tuple], random: Random) -> tuple:
    """Choose one of the places; a rare name is chosen as often as a common one."""
    named: dict[str, list[tuple]] = {}
    for path in found:
        name = next((key for key in reversed(path) if isinstance(key, str)), '')
        named.setdefault(name, []).append(path)
    return random.choice(named[random.choice(sorted(named))])


def _at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def _add(part: Any, key: Any, random: Random) -> None:
    """Add a part to a list or an object."""
    new = copy.deepcopy(random.choice([part[key], random.choice(VALUES)]))
    if isinstance(part, list):
        part.insert(key, new)
    else:
        part[random.choice(['', key + 'x', 'new', '__proto__'])] = new


def _other_number(value: Any, random: Random) -> Any:
    """Replace a number, or one in a text, by another."""
    if isinstance(value, str):
        numbers = list(re.finditer(r'-?\d+(\.\d+)?', value))
        if not numbers:
            return value + random.choice(['x', '\0', ' ', '0', '\ud800'])
        found = random.choice(numbers)
        other = random.choice([0, 0, *NUMBERS, *FLOATS, '', 'None', 'x', '(', '1e999', '9' * 30])
        return value[:found.start()] + str(other) + value[found.end():]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return random.choice([value + 1, value - 1, -value, value * 2, value // 2, *NUMBERS])
    return random.choice(VALUES)
