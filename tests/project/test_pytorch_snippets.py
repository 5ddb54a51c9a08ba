"""The documents' PyTorch snippets run without MXNet, as printed."""
import pytest

from tests.helpers.pages.documents import blocks_of
from tests.helpers.processes.fresh_python import run_python

pytest.importorskip('torch')

PAGES = ('README.md', 'docs/how-to/other-networks.md', 'docs/how-to/extend.md', 'docs/reference/networks.md')
SNIPPETS = [block.text for page in PAGES for block in blocks_of(page)
            if 'import torch\n' in block.text and not block.reason]


def test_snippets_run_without_mxnet(tmp_path, monkeypatch, no_mxnet):
    monkeypatch.chdir(tmp_path)
    result = run_python('-c', '\n'.join(SNIPPETS), path=no_mxnet, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    assert "['1', '3']" in result.stdout and (tmp_path / 'net.params').exists()
