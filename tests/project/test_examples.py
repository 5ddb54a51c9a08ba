"""The examples run in an empty folder, and their networks learn."""
import re
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

pytest.importorskip('sklearn')
pytestmark = pytest.mark.release


@pytest.mark.parametrize('name', ['gluon_network', 'own_images', 'pytorch_network'])
def test_example_learns(tmp_path, monkeypatch, name):
    if name == 'pytorch_network':
        pytest.importorskip('torch')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    printed = subprocess.run([sys.executable, ROOT / 'examples' / f'{name}.py'], cwd=tmp_path, check=True,
                             capture_output=True, text=True).stdout
    assert float(re.findall(r'0\.\d{3}$', printed, re.MULTILINE)[-1]) > 0.9  # an accuracy or a score
