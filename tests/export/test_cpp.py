"""The C++ example builds against the installed mxnet wheel and agrees with Python."""
import shutil
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from openatac.models.networks_by_name import get_model
from openatac.trained.manifest import Manifest, write_manifest
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.images.made_up_images import encoded, plain, smooth
from tests.helpers.networks.parameters import initialised
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(not (shutil.which('make') and shutil.which('g++')), reason='no C++ compiler')
LABELS = [f'class {k}' for k in range(10)]


@pytest.fixture(scope='module')
def example(tmp_path_factory):
    """(the program, the prefix of an export, its network), with trained running statistics."""
    folder = tmp_path_factory.mktemp('cpp')
    shutil.copytree(ROOT / 'examples' / 'cpp', folder, dirs_exist_ok=True)
    done = subprocess.run(['make', '-C', str(folder), 'PYTHON=' + sys.executable], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert 'warning' not in done.stderr
    random = np.random.RandomState(0)
    net = initialised(get_model('cifar_resnet8_v2_atac'))
    for name, parameter in net.collect_params().items():
        if 'running' in name:
            parameter.set_data(mx.nd.array(random.uniform(0.5, 1.5, parameter.shape)))
    write_symbol(net, str(folder / 'net'))
    write_manifest(str(folder / 'net.json'), Manifest(
        'cifar_resnet8_v2_atac', 10, (3, 32, 32), PIXEL_MEAN, PIXEL_STD, labels=LABELS))
    return folder / 'classify', folder / 'net', net


def classify(program, *arguments):
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_cpp_program_agrees_with_python(example, tmp_path):
    program, prefix, net = example
    pixels = smooth(seed=1)
    (tmp_path / 'image.ppm').write_bytes(encoded(pixels, 'PPM'))
    done = classify(program, prefix, tmp_path / 'image.ppm')
    assert done.returncode == 0, done.stderr
    x = (pixels.astype('float32') - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
    expected = net(mx.nd.array(x.transpose(2, 0, 1)[None])).softmax().asnumpy()[0]
    best = np.argsort(-expected)[:5]
    rows = [line.split('\t') for line in done.stdout.splitlines()]
    assert [label for _, label in rows] == [LABELS[k] for k in best]
    np.testing.assert_allclose([float(score) for score, _ in rows], expected[best], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('image, named', [
    (b'P6\n32 32\n255\n' + bytes(100), 'image.ppm'),
    (b'P6\n16 16\n255\n' + bytes(768), '32 x 32'),
    (b'P5\n32 32\n255\n' + bytes(1024), 'PPM'), (b'', 'PPM')])
def test_bad_images_are_refused(example, tmp_path, image, named):
    (tmp_path / 'image.ppm').write_bytes(image)
    done = classify(*example[:2], tmp_path / 'image.ppm')
    assert done.returncode == 1 and named in done.stderr and len(done.stderr.splitlines()) == 1


def test_bad_exports_are_refused(example, tmp_path):
    program, prefix, _ = example
    for suffix in ('.json', '-symbol.json', '-0000.params'):
        shutil.copy(str(prefix) + suffix, tmp_path)
    (tmp_path / 'image.ppm').write_bytes(encoded(plain(0, 32, 32), 'PPM'))
    params = tmp_path / 'net-0000.params'
    params.write_bytes(params.read_bytes()[:1000])
    for broken in (tmp_path / 'net', tmp_path / 'none'):
        done = classify(program, broken, tmp_path / 'image.ppm')
        assert done.returncode == 1 and done.stderr.startswith('classify: ')
    assert classify(program).returncode == 2
