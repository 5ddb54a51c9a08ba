"""Fixtures and hooks for all tests; importing this file makes MXNet importable."""
import copy
import logging
import shutil

import pytest

import openatac  # noqa: F401  (makes `import mxnet` work in every test file)
from tests.helpers.paths import SHARED_DATA
from tests.helpers.processes.hidden_packages import UNIX_MODULES, hide_packages
from tests.helpers.processes.memory import pytest_configure  # noqa: F401  (a conftest that is not at the top may not have pytest_plugins)


def pytest_collection_modifyitems(items):
    """Run the training tests, which take longest, first, so that all workers stay busy to the end."""
    items.sort(key=lambda item: not item.nodeid.startswith('tests/training/'))


@pytest.fixture(scope='session')
def shared_data():
    """The folder of real images beside the checkout; its tests are skipped where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip('no real images beside this checkout (../shared/data)')
    return SHARED_DATA


@pytest.fixture(scope='session', autouse=True)
def time_each_form_once():
    """Time each form of an export only once, since no test compares the times."""
    from openatac.export import parity
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, 'RUNS', 1)
        yield


@pytest.fixture(autouse=True)
def restore_log():
    """Restore the log after a run in this process."""
    log = logging.getLogger('openatac')
    before = log.handlers, log.level, logging.raiseExceptions
    yield
    if log.handlers is not before[0]:
        for handler in log.handlers:
            handler.close()
    log.handlers, log.level, logging.raiseExceptions = before


@pytest.fixture
def restored_registries():
    """Undo what a test registers and unregisters."""
    from openatac.backends.registered_backends import BACKENDS
    from openatac.export.forms.base import FORMS
    from openatac.export.runtimes.base import RUNTIMES
    from openatac.zoo.hosts import HOSTS
    from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
    registries = ACTIVATIONS, ATTENTIONS, BACKENDS, FORMS, HOSTS, RUNTIMES
    # Copies of their dicts, so that a name is free again even if its registration failed half-way.
    before = [{name: copy.copy(value) for name, value in vars(registry).items()} for registry in registries]
    yield
    for registry, attributes in zip(registries, before):
        vars(registry).update(attributes)


@pytest.fixture
def toys(restored_registries):
    """Register the extensions of tests.helpers.networks.toys in this test."""
    from tests.helpers.networks.toys import register_toys
    register_toys()


@pytest.fixture
def isolated_cwd(monkeypatch, tmp_path):
    """Change to an empty working folder, and hide the user's own data."""
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'home'))
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')


@pytest.fixture(scope='session')
def cifar10(tmp_path_factory):
    """The folder of made-up CIFAR-10 binary files: 100 training and 20 test images."""
    from tests.helpers.images.made_up_images import write_cifar
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar-10-batches-bin', images=20)


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """The folder of the export 'net', with symbol and fused files."""
    from tests.helpers.exports.small_export import write_small_export
    return write_small_export(tmp_path_factory.mktemp('export'))


@pytest.fixture
def prefix(exported, tmp_path):
    """The prefix of a copy of that export, which a test may damage."""
    shutil.copytree(exported, tmp_path / 'export')
    return str(tmp_path / 'export' / 'net')


@pytest.fixture(scope='session')
def animals(tmp_path_factory):
    """The folder of an animal network's exports, which tests must not change.

    'atac' has all forms, with the network's parameters in atac.params; 'photos', which crops, has two.
    """
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from openatac.models.weights import save_parameters
    from tests.helpers.exports.animal_export import ANIMALS, animal_network, export_animals
    folder, net = tmp_path_factory.mktemp('animals'), animal_network()
    save_parameters(net, str(folder / 'atac.params'))
    export_animals(net, folder / 'atac')
    photos = ANIMALS._replace(image_shape=(3, 40, 40), crop_ratio=0.875, labels=[])
    export_animals(net, folder / 'photos', photos, ['symbol', 'onnx'])
    return folder


@pytest.fixture(scope='session')
def atac(animals):
    """The prefix of the export 'atac'."""
    return str(animals / 'atac')


@pytest.fixture(scope='session')
def digits_network():
    """A network trained on the digits (tests.helpers.networks.digits_network); do not change its values."""
    pytest.importorskip('sklearn')
    from tests.helpers.networks import digits_network
    return digits_network.train(digits_network.MODEL, *digits_network.digits(train=True))


@pytest.fixture(scope='module')
def shallow_resnet():
    """Make train_imagenet.py and `get_model` build networks of `shallow_host` in this module."""
    from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host
    with in_resnets_place(shallow_host()):
        yield


@pytest.fixture
def small_network():
    """Make train_imagenet.py build networks of `small_host` in this test."""
    from tests.helpers.networks.imagenet_hosts import in_resnets_place, small_host
    with in_resnets_place(small_host()):
        yield


@pytest.fixture(scope='session')
def no_mxnet(tmp_path_factory):
    """The ``path`` of a process from which MXNet is hidden."""
    return hide_packages(('mxnet',), tmp_path_factory.mktemp('no_mxnet'))


@pytest.fixture(scope='session')
def no_torch(tmp_path_factory):
    """The ``path`` of a process from which PyTorch is hidden."""
    return hide_packages(('torch',), tmp_path_factory.mktemp('no_torch'))


@pytest.fixture(scope='session')
def no_unix(tmp_path_factory):
    """The ``path`` of a process from which the modules that exist only on Unix are hidden."""
    return hide_packages(UNIX_MODULES, tmp_path_factory.mktemp('no_unix'))


@pytest.fixture(scope='session')
def no_unix_and_no_mxnet(tmp_path_factory):
    """The same as `no_unix`, with MXNet hidden too."""
    return hide_packages((*UNIX_MODULES, 'mxnet'), tmp_path_factory.mktemp('no_unix_and_no_mxnet'))


@pytest.fixture(scope='module')
def one_torch_thread():
    """Use one PyTorch thread, as in the processes that tests start, so that results agree to the bit."""
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
