"""Checksums reveal a flipped bit in exports and in record files."""
import json
import os

import numpy as np
import pytest

from openatac.commands import pack
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.errors import DataError, OpenatacError
from openatac.export.exported_symbol import load_block, read_exported_files, read_exported_symbol
from openatac.export.forms.base import FORMS
from openatac.export.runtimes.base import RUNTIMES, open_runtime
from openatac.inference.gate_maps import open_gates
from openatac.trained.manifest import read_manifest
from tests.helpers.exports.small_export import MANIFEST
from tests.helpers.processes.scripts import changed_json

IMAGE = np.zeros((1, 3, 32, 32), 'float32')


def flip(path, place, bit=0):
    """Flip a bit of the file, at the given fraction of its length."""
    with open(path, 'r+b') as handle:
        at = int(place * os.path.getsize(path))
        handle.seek(at)
        byte = handle.read(1)[0]
        handle.seek(at)
        handle.write(bytes([byte ^ 1 << bit]))


# ---------------------------------------------------------------------------------- exports

def test_manifest_has_a_checksum_of_each_file(prefix):
    files = [path for form in ('symbol', 'fused') for path in FORMS.find(form).files(prefix)]
    assert sorted(prefix + ending for ending in read_manifest(prefix).sha256) == sorted(files)


@pytest.mark.parametrize('form, runtime', [
    ('symbol', 'static'), ('symbol', 'imperative'), ('fused', 'fused')])
@pytest.mark.parametrize('number', [0, 1])
def test_flipped_bit_is_found_by_each_runtime(prefix, form, runtime, number):
    open_runtime(prefix, runtime)(IMAGE)
    path = FORMS.find(form).files(prefix)[number]
    flip(path, 0.5)
    with pytest.raises(OpenatacError, match=os.path.basename(path)):
        open_runtime(prefix, runtime)


@pytest.mark.parametrize('load', [
    load_block, read_exported_files, lambda prefix: open_gates(prefix)(IMAGE[0]),
    lambda prefix: read_exported_symbol(prefix + '-symbol.json')])
def test_flipped_bit_is_found_by_each_loading_function(prefix, load):
    load(prefix)
    flip(prefix + '-symbol.json', 0.5)
    with pytest.raises(OpenatacError, match='-symbol.json'):
        load(prefix)


def test_changed_onnx_file_is_found(tmp_path):
    pytest.importorskip('onnxruntime')
    (tmp_path / 'a.onnx').write_bytes(b'not the file that was exported')
    (tmp_path / 'a.json').write_text(json.dumps({'sha256': {'.onnx': '0' * 64}}))
    with pytest.raises(OpenatacError, match=r'a\.onnx'):
        RUNTIMES.find('onnxruntime')(str(tmp_path / 'a'), MANIFEST)


def test_flipped_bit_is_found_by_the_translation_to_pytorch(prefix):
    pytest.importorskip('torch')
    from openatac.conversion.networks import to_torch
    to_torch(prefix + '-symbol.json')
    flip(prefix + '-0000.params', 0.7)
    with pytest.raises(OpenatacError, match='-0000.params'):
        to_torch(prefix + '-symbol.json')


def test_older_export_without_checksums_loads(prefix, capfd):
    with changed_json(prefix + '.json') as manifest:
        del manifest['sha256']
    flip(prefix + '-0000.params', 0.7)
    assert open_runtime(prefix, 'static')(IMAGE).shape == (1, 3)
    assert capfd.readouterr() == ('', '')


def test_renamed_export_passes_its_checksums(prefix):
    for name in os.listdir(os.path.dirname(prefix)):
        os.rename(os.path.join(os.path.dirname(prefix), name),
                  os.path.join(os.path.dirname(prefix), name.replace('net', 'other')))
    open_runtime(prefix.replace('/net', '/other'), 'static')(IMAGE)


# ----------------------------------------------------------------------------- record files

def test_each_record_has_a_checksum(record_prefix, capsys):
    assert pack.main(['--check', record_prefix + '.rec', '-j', '1']) == 0
    with open(record_prefix + '.crc32', encoding='utf-8') as handle:
        assert len(handle.readlines()) == 12


@pytest.mark.parametrize('place', np.linspace(0.02, 0.98, 5).tolist())
def test_flipped_bit_names_its_record(record_prefix, capsys, place):
    bounds = RecordFile(record_prefix + '.rec', record_prefix + '.idx').bounds
    flip(record_prefix + '.rec', place, 3)
    hurt = max(index for index, start in enumerate(bounds[:-1]) if start <= int(place * bounds[-1]))
    assert pack.main(['--check', record_prefix + '.rec', '-j', '1']) == 1
    output = capsys.readouterr().out
    assert f'record {hurt}: ' in output and ' 1 bad' in output
    source = RecordFile(record_prefix + '.rec', record_prefix + '.idx')  # as a training reads it
    for index in range(len(source)):
        if index == hurt:
            with pytest.raises((BadImageError, DataError)):
                source.read(index)
        else:
            source.read(index)


def test_missing_checksum_list_gives_no_warning(record_prefix, capsys):
    os.unlink(record_prefix + '.crc32')
    assert pack.main(['--check', record_prefix + '.rec', '-j', '1']) == 0


@pytest.mark.parametrize('text', ['', '0\tzz\n', '0\t00000000\n', '0\t123456789\n' * 12, '\xff\xfe'])
def test_checksum_list_of_another_file_is_refused(record_prefix, text):
    with open(record_prefix + '.crc32', 'w', encoding='latin-1') as handle:
        handle.write(text)
    with pytest.raises(DataError, match='crc32'):
        pack.main(['--check', record_prefix + '.rec', '-j', '1'])
