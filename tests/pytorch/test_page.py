"""The snippets of docs/pytorch.md run as they are."""
import re

import pytest

from tests.conftest import ROOT
from tests.helpers.fresh_python import run_python

pytest.importorskip('torch')

SNIPPETS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'pytorch.md').read_text('utf-8'), re.S)


def test_the_snippets_run_without_mxnet(tmp_path, monkeypatch, no_mxnet):
    monkeypatch.chdir(tmp_path)
    result = run_python('-c', '\n'.join(SNIPPETS), path=no_mxnet, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    assert "['1', '3']" in result.stdout and (tmp_path / 'net.params').exists()
