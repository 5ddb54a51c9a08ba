"""A small package that stands for MXNet, for processes of their own: in this one MXNet is loaded already."""
import pytest


@pytest.fixture
def package(tmp_path):
    """Writes files {name: source} of a package that stands for MXNet; returns its folder."""
    def write(init, **modules):
        (tmp_path / 'mxnet').mkdir()
        for name, source in dict(modules, __init__=init).items():
            (tmp_path / 'mxnet' / (name + '.py')).write_text(source)
        return [tmp_path]
    return write
