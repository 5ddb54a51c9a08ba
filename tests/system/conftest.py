"""A stand-in for MXNet, for new processes: in this process, MXNet is already loaded."""
import pytest


@pytest.fixture
def package(tmp_path):
    """A function that writes the stand-in package from {name: source}; returns [its folder]."""
    def write(init, **modules):
        (tmp_path / 'mxnet').mkdir()
        for name, source in dict(modules, __init__=init).items():
            (tmp_path / 'mxnet' / (name + '.py')).write_text(source)
        return [tmp_path]
    return write
