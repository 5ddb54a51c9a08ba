"""Run `openatac COMMAND` in this process, and read the CSV files that commands write."""
import csv

from openatac import cli


def call_command(command, *words):
    """Run a command and return its exit code."""
    try:
        return cli.main([command, *map(str, words)])
    except SystemExit as end:
        return end.code


def command_error(capsys, command, code, *words):
    """Run a command that must fail with that exit code and one error line; return the line."""
    assert call_command(command, *words) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f'openatac {command}: ') and 'Traceback' not in ''.join(lines), lines
    assert code == 2 or len(lines) == 1, lines
    return lines[-1]


def rows_of(path):
    """Return the rows of a CSV file, each as {column: text}."""
    with open(path, newline='', encoding='utf-8') as handle:
        return list(csv.DictReader(handle))
