"""ResNet-50's host with one block per stage, for tests that run train_imagenet.py in this process.

Its networks have all kinds of blocks and a third of the parameters, which are most of what an epoch of a few
photographs computes and writes. tests/project/test_package.py trains the whole ResNet-50.
"""
import pytest

from openatac.models.resnet_v1b import ResNet50_v1bATAC

PUBLISHED, SHALLOW = (3, 4, 6, 3), (1, 1, 1, 1)


@pytest.fixture(scope='module')
def shallow_resnet():
    """In a module that uses it, ResNet-50 has these layers unless others are asked for."""
    build = ResNet50_v1bATAC.__init__
    assert PUBLISHED in build.__defaults__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, '__defaults__', tuple(
            SHALLOW if value == PUBLISHED else value for value in build.__defaults__))
        yield
