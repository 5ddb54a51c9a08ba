"""The file readers that the fuzzer tests, each with small intact files of its kind."""
import contextlib
import gzip
import importlib.util
import io
import itertools
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from PIL import Image

import openatac
from openatac.commands import pack
from openatac.data.images.decoding import decode
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.data.small.cifar import load_cifar
from openatac.errors import OpenatacError
from openatac.export.forms.base import FORMS
from openatac.export.runtimes.base import open_runtime
from openatac.files.checksums import file_sha256
from openatac.files.mxnet_arrays import read_params
from openatac.graph.symbol_files import read_symbol, with_kinds, write_symbol_files
from openatac.models.weights import read_arrays, save_parameters
from openatac.options.command_line import DEFAULT, ParsedFlags
from openatac.options.declaration import build_config, option_fields
from openatac.study.comparison import sentences, tables
from openatac.study.comparison.comparison import Comparison, group_runs
from openatac.study.comparison.differences import find_differences
from openatac.study.costs.named_costs import costs_by_name_or_file
from openatac.study.finished_runs import find_runs
from openatac.study.published.numbers import IMAGENET_NUMBERS
from openatac.study.published.rows import make_row
from openatac.study.published.training_time import run_speeds
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import read_manifest
from openatac.trained.trained_network import load_run
from openatac.training.checkpoints.checkpoint import Checkpoints
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import CifarConfig, network_settings
from openatac.training.networks.initial_files import read_initial_config
from openatac.training.run_folder import RunFolder
from tests.helpers.exports import small_export
from tests.helpers.exports.exporting import export
from tests.helpers.images.made_up_images import write_photos
from tests.helpers.learners.stub_learner import STATE, StubLearner
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.paths import ROOT

RUN = ROOT / 'results' / 'cifar10_b1' / 'runs' / 'b1-atac-seed1'
DESCRIPTION = small_export.MANIFEST._replace(image_shape=(3, 8, 8))
IMAGES = np.random.RandomState(0).randn(1, 3, 8, 8).astype('float32')
PIXELS = np.random.RandomState(0).randint(0, 256, (17, 23, 3)).astype('uint8')
REFUSALS = OpenatacError, BadImageError, MemoryError  # a command reports it as one clear error
Content = dict[str, Any]
DEFAULTS = dict.fromkeys(option_fields(CifarConfig), DEFAULT)


class Reader(NamedTuple):
    """A reader of files.

    Parameters
    ----------
    name, kind : str
        The reader's name, and the folder of its files.
    files : tuple of str
        Files in that folder, of which one is damaged.
    read : callable
        Takes the folder, and returns {part: content} without refused parts, or raises one of REFUSALS.
    has_checksum : bool
        Whether a checksum reveals changes.
    """

    name: str
    kind: str
    files: tuple[str, ...]
    read: Callable[[str], Content]
    has_checksum: bool = False


def parts(functions: dict[str, Callable[[], Any]]) -> Content:
    """Return the results of these functions, without those that refuse."""
    found = {}
    for name, function in functions.items():
        with contextlib.suppress(*REFUSALS):
            found[name] = function()
    return found


# ---------------------------------------------------------------------------------- exports

def _runtime(name: str) -> Callable[[str], Content]:
    return lambda folder: {'outputs': open_runtime(folder + '/net', name)(IMAGES).tobytes()}


def _read_params(folder: str) -> Content:
    path = folder + '/net-0000.params'
    return parts({'mxnet': lambda: _bytes({key: array.asnumpy() for key, array in read_arrays(path).items()}),
                  'numpy': lambda: _bytes(read_params(path))})


def _bytes(arrays: dict[str, np.ndarray]) -> Content:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}


def _read_symbol(folder: str) -> Content:
    path = folder + '/net-symbol.json'
    return parts({'symbol': lambda: read_symbol(path).tojson(),
                  'costs': lambda: str(costs_by_name_or_file(path, (3, 8, 8)))})


def _read_manifest(folder: str) -> Content:
    manifest = read_manifest(folder + '/net')
    outputs = open_runtime(folder + '/net', 'imperative')(InputTransform(manifest)(PIXELS)[None])
    return {'manifest': repr(manifest), 'outputs': outputs.tobytes()}


def _write_exports(folder: str) -> None:
    """Write exports of a one-block network: 'export' with checksums and 'old export' without."""
    mx.random.seed(1)
    net = openatac.get_model(DESCRIPTION.model, classes=3)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.array(IMAGES))
    forms = ('symbol', 'fused', 'onnx') if _has_onnx() else ('symbol', 'fused')
    export(net, folder + '/export/net', DESCRIPTION, forms)
    shutil.copytree(folder + '/export', folder + '/old export')
    _edit(folder + '/old export/net.json', sha256={})
    os.mkdir(folder + '/operators')
    _write_operators(folder)


def _write_operators(folder: str) -> None:
    """Write an export with every operator of the networks once, without checksums."""
    data = mx.sym.var('data')
    outputs = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), pad=(1, 1), num_group=1, name='conv')
    outputs = mx.sym.BatchNorm(outputs, name='norm')
    outputs = mx.sym.LeakyReLU(outputs, act_type='leaky', slope=0.1, name='leaky')
    halves = mx.sym.SliceChannel(outputs, num_outputs=2, name='split')
    outputs = mx.sym.Concat(halves[0], mx.sym.sigmoid(halves[1]) * halves[0], dim=1, name='concat')
    outputs = mx.sym.Pooling(outputs, kernel=(2, 2), stride=(2, 2), pool_type='max', name='pool')
    outputs = mx.sym.UpSampling(outputs, scale=2, sample_type='nearest', name='larger')
    outputs = mx.sym.Pad(outputs, mode='constant', pad_width=(0, 0, 0, 0, 1, 1, 1, 1), name='pad')
    outputs = mx.sym.transpose(outputs, axes=(0, 2, 3, 1), name='transpose')
    outputs = mx.sym.slice(outputs, begin=(None, 1, 1), end=(None, 9, 9), step=(1, 2, 2), name='slice')
    outputs = mx.sym.Reshape(outputs, shape=(0, -3, -1), name='reshape')
    outputs = 1e-4 * mx.sym.batch_dot(outputs, outputs, transpose_b=True, name='dot')
    outputs = mx.sym.slice_axis(mx.sym.tile(outputs, reps=(1, 2, 1), name='tile'), axis=1, begin=0, end=16)
    outputs = mx.sym.softmax(mx.sym.mean(outputs, axis=1, name='mean'), axis=-1, name='softmax')
    symbol = mx.sym.FullyConnected(outputs, num_hidden=3, name='dense')
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    shapes = itertools.chain(*symbol.infer_shape(data=IMAGES.shape)[::2])
    random = np.random.RandomState(0)
    write_symbol_files(folder + '/operators/net', symbol, with_kinds(symbol, {
        name: mx.nd.array(random.rand(*shape)) for name, shape in zip(names, shapes)}))
    with open(folder + '/operators/net.json', 'w', encoding='utf-8') as handle:
        json.dump(DESCRIPTION._asdict(), handle)


def _has_onnx() -> bool:
    return all(importlib.util.find_spec(name) for name in ('onnx', 'onnxruntime'))


def _edit(path: str, **changes: Any) -> None:
    with open(path, encoding='utf-8') as handle:
        value = json.load(handle)
    with open(path, 'w', encoding='utf-8') as handle:
        json.dump({**value, **changes}, handle)


# ---------------------------------------------------------------------------------- records

def _read_records(folder: str) -> Content:
    source = RecordFile(folder + '/out.rec', folder + '/out.idx')
    return {'names': source.class_names, **_images_of(source)}


def _read_without_index(folder: str) -> Content:
    return _images_of(RecordFile(folder + '/out.rec', classes=2))


def _images_of(source: RecordFile) -> Content:
    def image(index: int) -> tuple[bytes, int]:
        data, label = source.read(index)
        return decode(data).tobytes(), label

    return parts({str(index): lambda index=index: image(index) for index in range(len(source))})


def _write_records(folder: str) -> None:
    photos = write_photos(folder + '/photos', classes=2, images=3, side=16)
    os.mkdir(folder + '/records')
    pack.main([photos, folder + '/records/out', '-j', '1'])
    shutil.copytree(folder + '/records', folder + '/old records')
    os.unlink(folder + '/old records/out.crc32')


# ------------------------------------------------------------------------------------ CIFAR

def _read_archive(folder: str) -> Content:
    return _cifar(folder + '/cifar-10-binary.tar.gz')


def _read_tar(folder: str) -> Content:
    """Read an archive with gzip's checksum made valid, as an attacker would."""
    with open(folder + '/inner.tar', 'rb') as inner, gzip.open(folder + '/a.tar.gz', 'wb') as archive:
        archive.write(inner.read())
    return _cifar(folder + '/a.tar.gz')


def _cifar(place: str) -> Content:
    found = load_cifar('cifar10', place, train=False)
    return {'images': found.images.tobytes(), 'labels': found.labels.tobytes(), 'names': found.class_names}


def _write_cifar(folder: str) -> None:
    records = np.random.RandomState(0).randint(0, 10, (2, 3073)).astype('uint8')
    names = '\n'.join(f'class{label}' for label in range(10)).encode()
    batch = pickle.dumps({b'data': records[:, 1:], b'labels': records[:, 0].tolist()}, protocol=2)
    for place, files in (('cifar folder', {'test_batch.bin': records.tobytes(), 'batches.meta.txt': names}),
                         ('cifar pickle', {'test_batch': batch})):
        os.mkdir(f'{folder}/{place}')
        for name, data in files.items():
            with open(f'{folder}/{place}/{name}', 'wb') as handle:
                handle.write(data)
    os.mkdir(folder + '/cifar archive')
    with tarfile.open(folder + '/cifar archive/inner.tar', 'w') as archive:
        archive.add(folder + '/cifar folder', 'cifar-10-batches-bin')
    with open(folder + '/cifar archive/inner.tar', 'rb') as inner, \
            gzip.open(folder + '/cifar archive/cifar-10-binary.tar.gz', 'wb') as archive:
        archive.write(inner.read())


# ----------------------------------------------------------------------------------- images

FORMATS = 'jpg', 'png', 'gif', 'webp', 'bmp', 'tiff', 'ppm'


def _read_images(folder: str) -> Content:
    transform = InputTransform(DESCRIPTION._replace(crop_ratio=0.875))

    def read(path: str) -> bytes:
        with open(path, 'rb') as handle:
            return transform(decode(handle.read())).tobytes()

    return parts({name: lambda name=name: read(os.path.join(folder, name))
                  for name in sorted(os.listdir(folder))})


def _write_images(folder: str) -> None:
    os.mkdir(folder + '/images')
    exif = Image.Exif()
    exif[0x112] = 6  # turned by 90 degrees
    for ending in FORMATS:
        Image.fromarray(PIXELS).save(f'{folder}/images/rgb.{ending}', exif=exif)
    for mode in ('L', 'P', 'RGBA', 'I;16'):
        pixels = PIXELS[..., 0].astype('uint16') if mode == 'I;16' else PIXELS
        Image.fromarray(pixels).convert(mode).save(f'{folder}/images/{mode[0]}{len(mode)}.png')
    Image.fromarray(PIXELS).convert('CMYK').save(folder + '/images/cmyk.jpg')
    Image.fromarray(PIXELS).save(folder + '/images/progressive.jpg', progressive=True)


# ------------------------------------------------------------------------------------- runs

def _read_settings(folder: str) -> Content:
    trained = load_run(folder)
    return {'manifest': repr(trained.manifest),
            'values': _bytes({name: parameter.data().asnumpy() for name, parameter
                              in parameters_of(trained.net).items()})}


def _read_summary(folder: str) -> Content:
    def compared() -> str:
        comparison = Comparison(group_runs(find_runs(folder)))
        return repr([sentences.circumstances(comparison), tables.rows(comparison),
                     find_differences(comparison)])

    def published() -> str:
        found = find_runs(folder)
        return repr([list(run_speeds(found)), make_row(IMAGENET_NUMBERS[0], found, [])])

    return parts({'compare': compared, 'published': published})


def _read_flags(folder: str) -> Content:
    try:
        given = ParsedFlags(build_config(CifarConfig, {}), DEFAULTS)
        model, config = read_initial_config(folder + '/start', given)
    except ValueError as error:  # the command turns it into one clear error
        raise OpenatacError(str(error)) from None
    return {'model': model, 'flags': repr(config)}


def _write_runs(folder: str) -> None:
    shutil.copytree(RUN, folder + '/run')
    _edit(folder + '/run/settings.json', host=None, reduction=16)  # newer runs have it
    built = RunFolder(folder + '/run').network()
    save_parameters(initialised(built.net), folder + '/run/best.params')
    with open(folder + '/run/start-flags.json', 'w', encoding='utf-8') as handle:
        json.dump({'model': 'atac', 'flags': network_settings(built.config)}, handle)


# ------------------------------------------------------------------------------ checkpoints

PLACE = 'checkpoints/0000000003'


def _read_checkpoint(folder: str) -> Content:
    arrays, state = Checkpoints(folder + '/checkpoints').latest()
    return {**_bytes(arrays), 'state': repr(state)}


def _read_resigned(folder: str) -> Content:
    """Read a checkpoint with its checksums made valid, as an attacker would."""
    place = os.path.join(folder, PLACE)
    _edit(place + '/manifest.json', **{name: file_sha256(f'{place}/{name}')
                                       for name in ('arrays.params', 'state.json')})
    progress, learner = Progress(), StubLearner()
    progress.resume(folder, learner, lambda arrays, state: (arrays, state))
    return {'progress': repr(vars(progress)), 'engine': repr((_bytes(learner.arrays), learner.total))}


def _write_checkpoint(folder: str) -> None:
    Checkpoints(folder + '/checkpoint/checkpoints').save(3, {
        'values/a': np.arange(6, dtype='float32').reshape(2, 3), 'values/b': np.ones(2, 'int64')}, STATE)


# -------------------------------------------------------------------------------------- all

def write_files(folder: str) -> None:
    """Write a folder of intact files of each kind into ``folder``."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for write in (_write_exports, _write_records, _write_cifar, _write_images, _write_runs,
                      _write_checkpoint):
            write(folder)


def readers() -> list[Reader]:
    """Return all readers, for the folders of `write_files`."""
    symbol, fused = FORMS.find('symbol').files('net'), FORMS.find('fused').files('net')
    images = [f'rgb.{ending}' for ending in FORMATS]
    images += ['L1.png', 'P1.png', 'R4.png', 'I4.png', 'cmyk.jpg', 'progressive.jpg']
    arrays, state, manifest = (f'{PLACE}/{name}' for name in ('arrays.params', 'state.json', 'manifest.json'))
    found = [
        Reader('params', 'old export', (symbol[1],), _read_params),
        Reader('symbol JSON', 'old export', (symbol[0],), _read_symbol),
        Reader('operators', 'operators', (symbol[0],), _read_symbol),
        Reader('operators, run', 'operators', (symbol[0],), _runtime('imperative')),
        Reader('operators, fused', 'operators', (symbol[0],), _runtime('fused')),
        Reader('symbol files', 'old export', tuple(symbol), _runtime('static')),
        Reader('fused files', 'old export', tuple(fused), _runtime('fused')),
        Reader('symbol files, SHA-256', 'export', tuple(symbol), _runtime('imperative'), True),
        Reader('fused files, SHA-256', 'export', tuple(fused), _runtime('fused'), True),
        Reader('manifest', 'export', ('net.json',), _read_manifest),
        Reader('records', 'old records', ('out.rec', 'out.idx'), _read_records),
        Reader('records, no index', 'old records', ('out.rec',), _read_without_index),
        Reader('records, CRC-32', 'records', ('out.rec', 'out.idx', 'out.crc32'), _read_records, True),
        Reader('class list', 'records', ('out.classes',), _read_records),
        Reader('CIFAR archive', 'cifar archive', ('cifar-10-binary.tar.gz',), _read_archive, True),
        Reader('CIFAR tar', 'cifar archive', ('inner.tar',), _read_tar),
        Reader('CIFAR files', 'cifar folder', ('test_batch.bin', 'batches.meta.txt'), _cifar),
        Reader('CIFAR pickle', 'cifar pickle', ('test_batch',), _cifar),
        Reader('images', 'images', tuple(images), _read_images),
        Reader('settings', 'run', ('settings.json', 'best.params'), _read_settings),
        Reader('summary', 'run', ('summary.json', 'metrics.csv'), _read_summary),
        Reader('initial flags', 'run', ('start-flags.json',), _read_flags),
        Reader('checkpoint', 'checkpoint', (arrays, state, manifest), _read_checkpoint, True),
        Reader('checkpoint, new sums', 'checkpoint', (arrays, state), _read_resigned)]
    if _has_onnx():
        found += [Reader('ONNX', 'old export', ('net.onnx',), _runtime('onnxruntime')),
                  Reader('ONNX, SHA-256', 'export', ('net.onnx',), _runtime('onnxruntime'), True)]
    return found
