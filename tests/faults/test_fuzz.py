"""A short run of the fuzzer, and tests of the fuzzer itself; `make test-faults` is the long run."""
import collections
import os
import signal
import time

import pytest

from openatac.errors import OpenatacError
from tests.faults import fuzz
from tests.faults.fuzz import FAULTS, OUTCOMES, Case, Fuzzer, cases_of
from tests.faults.readers import Reader, readers

CASES = 1  # for each reader


def test_readers_have_no_faults(tmp_path):
    counts = {reader.name: collections.Counter() for reader in readers()}
    fuzz.fuzz(cases_of(1, readers(), None, CASES), str(tmp_path), counts)
    assert all(sum(found.values()) == CASES for found in counts.values())
    assert not any(found[fault] for found in counts.values() for fault in FAULTS), fuzz.table(counts)
    total = sum(counts.values(), collections.Counter())
    assert total['same'] and total['changed'] and total['refused'] > total['changed']


# ----------------------------------------------------------- the fuzzer finds planted faults

def kill(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(folder):
    raise OpenatacError('no')


def compute(folder):
    while True:
        pass


READERS = {'same': lambda folder: {'a': 1, 'b': 2}, 'refused': refuse, 'changed': lambda folder: {'a': 3},
           'traceback': lambda folder: {}['a'], 'signal': kill, 'hang': compute,
           'silent change': lambda folder: {'a': 1, 'b': 3}}


@pytest.fixture
def fuzzer(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, 'write_files', lambda folder: None)
    monkeypatch.setattr(fuzz, 'COMPUTING', 1)
    (tmp_path / 'kind').mkdir()
    (tmp_path / 'kind' / 'file.json').write_text('{"a": [1, 2]}')
    return Fuzzer(str(tmp_path), str(tmp_path / 'keep'))


@pytest.mark.parametrize('outcome', OUTCOMES)
def test_outcomes_are_distinguished(fuzzer, tmp_path, outcome):
    whole = os.getpid()

    def read(folder):
        return {'a': 1, 'b': 2} if os.getpid() == whole else READERS[outcome](folder)

    case = Case(0, Reader('any', 'kind', ('file.json',), read, outcome == 'silent change'), 0)
    assert fuzzer.run(case) == outcome
    kept = tmp_path / 'keep' / case.name
    assert kept.exists() == (outcome in FAULTS)
    if kept.exists():
        assert (kept / 'file.json').read_bytes() != (tmp_path / 'kind' / 'file.json').read_bytes()


def test_waiting_reader_counts_as_a_hang(fuzzer, monkeypatch):
    monkeypatch.setattr(fuzz, 'WAITING', 0.2)
    whole = os.getpid()
    reader = Reader('any', 'kind', ('file.json',), lambda folder: os.getpid() == whole or time.sleep(60))
    assert fuzzer.run(Case(0, reader, 0)) == 'hang'


def test_cases_are_reproducible(fuzzer, tmp_path):
    whole = os.getpid()

    def read(folder):
        if os.getpid() != whole:
            with open(folder + '/file.json', 'rb') as file, open(tmp_path / 'seen', 'a') as seen:
                seen.write(file.read().hex() + '\n')
        return {}

    for number in 2 * [*range(10)]:
        fuzzer.run(Case(3, Reader('any', 'kind', ('file.json',), read), number))
    found = (tmp_path / 'seen').read_text().splitlines()
    assert found[:10] == found[10:] and len(set(found)) > 5
