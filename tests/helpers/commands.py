"""`openatac COMMAND` in this process, and the rows of the CSV files that commands write."""
import csv

from openatac import cli


def call_command(command, *words):
    """Run a command; its exit code."""
    try:
        return cli.main([command, *map(str, words)])
    except SystemExit as end:
        return end.code


def command_refusal(capsys, command, code, *words):
    """Run a command that ends with that code and one sentence; the sentence."""
    assert call_command(command, *words) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f'openatac {command}: ') and 'Traceback' not in ''.join(lines), lines
    assert code == 2 or len(lines) == 1, lines
    return lines[-1]


def rows_of(path):
    """The rows of a CSV file, each as {column: text}."""
    with open(path, newline='', encoding='utf-8') as handle:
        return list(csv.DictReader(handle))
