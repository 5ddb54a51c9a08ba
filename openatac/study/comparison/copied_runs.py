"""Copy the records of finished runs into a comparison, without parameters or checkpoints."""
from __future__ import annotations

import json
import ntpath
import os
import posixpath
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from openatac.errors import OpenatacError
from openatac.files.reading import read_text
from openatac.files.run_file_names import LOG, METRICS_CSV, SETTINGS, SUMMARY
from openatac.files.schema import parse_json, validate
from openatac.files.writing import write_text, writing
from openatac.study.comparison.comparable import check_comparable
from openatac.study.comparison.folder_names import folder_name_of
from openatac.study.finished_runs import FinishedRun, find_runs, runs_in

FILES = (SETTINGS, METRICS_CSV, LOG, SUMMARY)  # the last marks a finished run
ADVICE = 'free some disk space or choose another folder'


def copy_records(sources: Sequence[str], folder: str) -> None:
    """Copy the records of the runs in the folders ``sources`` to ``folder``, unless they are already there.

    Absolute paths in them are shortened to their last part. Nothing is copied unless all runs are comparable
    with each other and with the runs in ``folder``.
    """
    home = os.path.realpath(folder)
    new = [run for source in sources for run in find_runs(source)
           if not Path(os.path.realpath(run.folder)).is_relative_to(home)]
    check_comparable([*runs_in(folder), *new])
    records = {folder_name_of(run): _record(run) for run in new}
    with writing(folder, ADVICE):
        for name, record in records.items():
            target = os.path.join(folder, 'runs', name)
            os.makedirs(target, exist_ok=True)
            for file, text in record.items():
                write_text(os.path.join(target, file), text)


def without_paths(command: str) -> str:
    """Shorten absolute paths in a command to their last part, since other machines have other folders."""
    try:
        words = shlex.split(command)
    except ValueError:  # a summary from elsewhere can contain any text
        return command
    shortened = [*map(_shortened, words)]
    return command if shortened == words else shlex.join(shortened)


def _shortened(word: str) -> str:
    flag, equals, value = word.partition('=') if word.startswith('--') else ('', '', word)
    return flag + equals + (_last_part(value) if _is_absolute(value) else value)


def _is_absolute(path: str) -> bool:
    """Return whether a path is absolute, on any operating system."""
    return posixpath.isabs(path) or (bool(ntpath.splitdrive(path)[0]) and ntpath.isabs(path))


def _last_part(path: str) -> str:
    kind = posixpath if posixpath.isabs(path) else ntpath
    return kind.basename(kind.normpath(path))


def _record(run: FinishedRun) -> dict[str, str]:
    """Return {file in FILES: its text, without the machine's paths}."""
    try:
        texts = {name: read_text(os.path.join(run.folder, name)) for name in FILES}
        settings = validate(parse_json(texts[SETTINGS]), dict)
        values = {**settings, **validate(parse_json(texts[SUMMARY]), dict)}
    except (OSError, ValueError) as error:
        raise OpenatacError(f'{run.folder} lacks {" or ".join(FILES)}, or they are damaged ({error}): give a '
                            'folder with all of these files') from None
    strings = {name: value for name, value in values.items() if isinstance(value, str)}
    paths = {value: _last_part(value) for value in strings.values() if _is_absolute(value)}
    commands = {command: without_paths(command) for command in {settings.get('command'), values['command']}
                if isinstance(command, str)}
    for name in texts:
        for value, short in {**commands, **paths}.items():
            texts[name] = (texts[name].replace(json.dumps(value), json.dumps(short or value))
                           if name.endswith('.json') else _in_text(texts[name], value, short or value))
    return texts


def _in_text(text: str, value: str, short: str) -> str:
    """Replace ``value``, a path or a command, where it is not a part of a longer word."""
    return re.sub(rf'(?<![\w./:-]){re.escape(value)}(?![\w-])', lambda match: short, text)
