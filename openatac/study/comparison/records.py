"""The records of finished runs that a comparison keeps: no parameters or checkpoints."""
from __future__ import annotations

import json
import ntpath
import os
import posixpath
import shlex
from collections.abc import Sequence
from pathlib import Path

from openatac.errors import OpenatacError
from openatac.files.reading import read_text
from openatac.files.schema import parse_json, validate
from openatac.files.writing import write_text, writing
from openatac.study.comparison.comparable import check_comparable, name_of
from openatac.study.finished_runs import FinishedRun, find_runs, runs_in

FILES = ('settings.json', 'metrics.csv', 'train.log', 'summary.json')  # the last marks a finished run
ADVICE = ': make room or choose another folder'


def copy_records(sources: Sequence[str], folder: str) -> None:
    """Copy the records of the runs in the folders ``sources`` to ``folder``, unless they are already there.

    Machine paths in them are shortened to their last part. Nothing is copied unless all runs can be
    compared with each other and with those in ``folder``.
    """
    home = os.path.realpath(folder)
    new = [run for source in sources for run in find_runs(source)
           if not Path(os.path.realpath(run.folder)).is_relative_to(home)]
    check_comparable([*runs_in(folder), *new])
    records = {name_of(run): _record(run) for run in new}
    with writing(folder, ADVICE):
        for name, record in records.items():
            target = os.path.join(folder, 'runs', name)
            os.makedirs(target, exist_ok=True)
            for file, text in record.items():
                write_text(os.path.join(target, file), text)


def without_paths(command: str) -> str:
    """Return a command whose absolute paths are shortened to their last part: others have other folders."""
    try:
        words = shlex.split(command)
    except ValueError:  # a summary from elsewhere may hold any text
        return command
    shortened = [*map(_shortened, words)]
    return command if shortened == words else shlex.join(shortened)


def _shortened(word: str) -> str:
    flag, equals, value = word.partition('=') if word.startswith('--') else ('', '', word)
    return flag + equals + (_last_part(value) if _is_absolute(value) else value)


def _is_absolute(path: str) -> bool:
    """Return whether a path, of whichever system the run was on, is absolute."""
    return posixpath.isabs(path) or (bool(ntpath.splitdrive(path)[0]) and ntpath.isabs(path))


def _last_part(path: str) -> str:
    kind = posixpath if posixpath.isabs(path) else ntpath
    return kind.basename(kind.normpath(path))


def _record(run: FinishedRun) -> dict[str, str]:
    """Return {file of FILES: its text without paths of the machine}."""
    try:
        texts = {name: read_text(os.path.join(run.folder, name)) for name in FILES}
        settings = validate(parse_json(texts['settings.json']), dict)
    except (OSError, ValueError) as error:
        raise OpenatacError(f'{run.folder} lacks {" or ".join(FILES)}, or they are damaged ({error}): name a '
                            'folder with all of these files') from None
    paths = [value for value in settings.values() if isinstance(value, str) and _is_absolute(value)]
    for path in sorted(paths, key=len, reverse=True):
        short = _last_part(path)
        if short:
            texts = {name: text.replace(path, short).replace(json.dumps(path)[1:-1], json.dumps(short)[1:-1])
                     for name, text in texts.items()}
    return texts
