"""The tutorials run, each in an empty folder. `make docs` runs them all."""
import pytest

from tests.conftest import ROOT

pytest.importorskip('sklearn')
pytest.importorskip('nbclient')
LONG = ('compare', 'deploy', 'torchvision')


@pytest.mark.parametrize('name', ['unit', *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_a_tutorial_runs_to_its_end(tmp_path, monkeypatch, name):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.syspath_prepend(ROOT / 'docs')
    from run_tutorial import run
    last = run(ROOT / 'docs' / 'tutorials' / f'{name}.md', tmp_path).cells[-2]  # before "Next"
    if 'tags' in last.metadata:
        pytest.skip('it needs a package that cannot be imported here')
    assert last.outputs


def test_there_are_no_others():
    names = {path.stem for path in (ROOT / 'docs' / 'tutorials').iterdir()}
    assert names == {'unit', *LONG}
