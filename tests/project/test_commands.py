"""Each command of `openatac` answers --help at once: it loads no library that computes or draws."""
from openatac.cli import COMMANDS
from tests.helpers.fresh_python import output_of

HEAVY = ['mxnet', 'torch', 'matplotlib', 'onnx', 'cv2']


def test_help_loads_nothing_heavy():
    assert output_of(f'''
import contextlib, io, sys
from openatac import cli
for command in {list(COMMANDS)}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        cli.main([command, '--help'])
    assert 'usage: ' in text.getvalue(), command
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, (command, loaded)
''') == ''
