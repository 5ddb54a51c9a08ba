"""Run `openatac COMMAND` in this process, and read the CSV files that commands write."""
import csv

import pytest

from openatac import cli
from openatac.commands import predict
from openatac.errors import OpenatacError
from tests.helpers.paths import ROOT


def call_command(*words):
    """Run `openatac *words` and return its exit code."""
    try:
        return cli.main([*map(str, words)])
    except SystemExit as end:
        return end.code


def call_export(*words):
    """Run `openatac export` and return its exit code."""
    return call_command('export', *words)


def command_error(capsys, command, code, *words):
    """Run a command that must fail with that exit code and one error line; return the line."""
    assert call_command(command, *words) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f'openatac {command}: ') and 'Traceback' not in ''.join(lines), lines
    assert code == 2 or len(lines) == 1, lines
    return lines[-1]


def predict_images(capsys, *arguments):
    """Run `openatac predict`; return (exit code, standard output, standard error)."""
    code = call_command('predict', *arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def predict_error(prefix, *flags, image=None):
    """Run `openatac predict`, which must fail; return the sentence."""
    with pytest.raises(OpenatacError) as caught:
        predict.main([prefix, image or str(ROOT / 'README.md'), *flags])
    assert '\n' not in str(caught.value)
    return str(caught.value)


def rows_of(path):
    """Return the rows of a CSV file, each as {column: text}."""
    with open(path, newline='', encoding='utf-8') as handle:
        return list(csv.DictReader(handle))
