"""Try a fresh installation in a minute, and print one line.

Import all modules, build, train one step, export and load, and rehearse train_imagenet.py with two workers.
"""
import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
import warnings

import numpy

before = dict(vars(numpy))

import openatac  # noqa: E402

assert 'mxnet' not in sys.modules, 'import openatac has loaded MXNet'

import mxnet as mx  # noqa: E402

for module in pkgutil.walk_packages(openatac.__path__, 'openatac.', onerror=lambda name: None):
    if not module.name.endswith('.__main__'):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if not error.name or error.name.startswith('openatac'):
                raise  # else an extra that is not installed

leftovers = [name for name, value in vars(numpy).items()
             if before.get(name) is not value and not isinstance(value, type(numpy))]
assert not leftovers, f'left behind in NumPy: {leftovers}'


def training_step():
    """A b=1 ATAC network after one step from seed 1, and the losses before and after the step."""
    mx.random.seed(1)
    numpy.random.seed(1)
    images, labels = mx.nd.random.normal(shape=(8, 3, 32, 32)), mx.nd.arange(8)
    net = openatac.ResNet20V2ATAC([1] * 3, [16, 16, 32, 64], 10, 'ChaATAC', 2)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.1, 'momentum': 0.9})
    criterion = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    losses = []
    for _ in range(2):
        with mx.autograd.record():
            loss = criterion(net(images), labels)
        loss.backward()
        trainer.step(len(labels))
        losses.append(float(loss.mean().asscalar()))
    return net, images, losses


def exported_difference(net, images):
    """The largest difference between the network's output and that of its exported files."""
    expected = net(images).asnumpy()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'net')
        net.export(path)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # of an input whose type is not yet known
            loaded = mx.gluon.SymbolBlock.imports(path + '-symbol.json', ['data'], path + '-0000.params')
        return float(numpy.abs(loaded(images).asnumpy() - expected).max())


def rehearse_in_two_processes():
    """Two workers and a server, with readers of their own, do one batch of everything."""
    from PIL import Image
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'train_imagenet.py')
    with tempfile.TemporaryDirectory() as folder:
        for split in ('train', 'val'):
            for index in range(8):
                place = os.path.join(folder, split, f'class{index % 2}')
                os.makedirs(place, exist_ok=True)
                pixels = numpy.random.randint(0, 256, (40, 50, 3)).astype('uint8')
                Image.fromarray(pixels).save(os.path.join(place, f'{index}.jpg'))
        run = subprocess.run(
            [sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', sys.executable, script,
             '--data-dir', folder, '--num-classes', '2', '--input-size', '32', '--batch-size', '2', '-j', '1',
             '--dry-run', '1', '--kvstore', 'dist_sync', '--save-dir', os.path.join(folder, 'run'),
             '--logging-file', os.path.join(folder, 'log')],
            capture_output=True, text=True, timeout=300, env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert run.returncode == 0 and 'resume' in run.stdout, run.stdout + run.stderr


unit = openatac.ChaATAC(16, 2)
unit.initialize()
assert unit(mx.nd.ones((2, 16, 8, 8))).shape == (2, 16, 8, 8)

net, images, losses = training_step()
assert numpy.isfinite(losses).all(), losses
assert losses == training_step()[2], 'the same seed gave another loss'
difference = exported_difference(net, images)
assert difference < 1e-5, difference
rehearse_in_two_processes()

print(f'smoke: Python {sys.version.split()[0]}, NumPy {numpy.__version__}, MXNet {mx.__version__}: '
      f'loss {losses[0]:.6f}, then {losses[1]:.6f}; exported within {difference:.0e}')
