"""Check a record file: read and decode every record."""
from __future__ import annotations

import functools
import os
from typing import NamedTuple

from openatac.data.images.decoding import decode
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.data.records.sidecar_files import index_beside
from openatac.data.threads import map_in_order
from openatac.errors import DataError
from openatac.text import for_terminal


class Checked(NamedTuple):
    """The result of a check: the numbers of records, labels in use, expected classes and bad records."""

    records: int
    labels: int
    classes: int | None
    bad: int


def check_records(rec: str, idx: str | None = None, workers: int = 1) -> Checked:
    """Read and decode all records of a file, and print a line for each bad one.

    Parameters
    ----------
    rec : str
    idx : str, optional
        Its index; by default the one next to the file, if there is one.
    workers : int
        How many records to check at a time.

    Raises
    ------
    DataError
        If ``rec`` is not a record file, or the index belongs to another file.
    """
    from tqdm import tqdm
    if os.path.isdir(rec):
        raise DataError(f'{rec} is a folder: --check reads the record file that was packed from one')
    records = RecordFile(rec, idx or index_beside(rec))
    labels = set()
    bad = 0
    check = functools.partial(_check_record, records)
    with tqdm(total=len(records), unit='images', disable=None) as bar:
        for index, (label, problem) in map_in_order(check, range(len(records)), workers):
            labels.add(label)
            if problem:
                bad += 1
                bar.write(for_terminal(f'{records.name(index)}: {problem}'))
            bar.update()
    return Checked(len(records), len(labels - {None}), records.classes, bad)


def _check_record(records: RecordFile, index: int) -> tuple[int | None, str]:
    """Return (a record's label or None, its problem or '')."""
    label = None
    try:
        data, label = records.read(index)
        decode(data)
    except (BadImageError, DataError) as error:
        return label, str(error)
    return label, ''
