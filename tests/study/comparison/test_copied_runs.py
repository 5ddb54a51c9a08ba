"""What the files of a comparison show of a run's command."""
import pytest

from openatac.study.comparison.copied_runs import without_paths

FORMULA = "=cmd|'/c calc'!A1"


@pytest.mark.parametrize('command, shown', [
    ("train.py --data-dir '/home/me/a b' --save-dir=/tmp/run", "train.py --data-dir 'a b' --save-dir=run"),
    (r"train.py --data-dir 'C:\data\a b' --save-dir=D:/runs/run", "train.py --data-dir 'a b' --save-dir=run"),
    (r"train.py --data-dir '\\server\share\images\'", 'train.py --data-dir images'),
    ("it's no command", "it's no command"), (FORMULA, FORMULA)])
def test_command_is_shown_without_paths(command, shown):
    assert without_paths(command) == shown
