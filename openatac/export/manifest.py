"""What an export is: its files by name, and the description that makes them explain themselves.

An export is a set of files whose names begin alike, with PREFIX:

    PREFIX.json                                   this description
    PREFIX-symbol.json, PREFIX-0000.params        the network, as Gluon and the Module API read it
    PREFIX-fused-symbol.json, ...-0000.params     with oneDNN's fused operators, for CPUs
    PREFIX-int8-symbol.json, ...-0000.params      quantized, for CPUs
    PREFIX.onnx                                   for ONNX Runtime and others
    PREFIX-int8.onnx                              quantized, for ONNX Runtime and others
"""
import json
import os
from typing import Annotated, Any, Dict, List, Literal, NamedTuple, Tuple, Union

from openatac.arguments import CHANNELS, CLASSES, CROP_RATIO, SIDE
from openatac.errors import OpenatacError
from openatac.files.schema import Range, read_json

FORMS = ('symbol', 'fused', 'int8', 'onnx', 'onnx-int8')
INT8_FORMS = ('int8', 'onnx-int8')
_Side = Annotated[int, Range(1, SIDE)]
_Level = Annotated[float, Range(-1e6, 1e6)]       # of a pixel, 0 to 255
_Deviation = Annotated[float, Range(1e-6, 1e6)]


class Description(NamedTuple):
    """What must be known to use a network.

    model : its name in the zoo, or what it was called; classes : how many; labels : their names, or [];
    arguments : {name: value} given to its host beside the name, such as {'r': 2, 'useGlobal': True};
    image_shape : (C, H, W) of its input;
    mean, std : per channel, of pixel values from 0 to 255 (RGB): the input is (pixel - mean) / std;
    crop_ratio : an image's short side is resized to H / crop_ratio and its centre taken; 0 if images are
    resized to (H, W) as they are;
    precision : 'float32' or 'float16', of the symbol files;
    reports : {form of FORMS: {'max_difference', 'top1_agreement', 'bytes', 'milliseconds', ...}}, what the
    export found when it compared each form with the network that it came from;
    sha256 : {what a file's name has after PREFIX: checksum}, see `openatac.files.checksums`.
    """

    model: str
    classes: Annotated[int, Range(1, CLASSES)]
    image_shape: Tuple[Annotated[int, Range(1, CHANNELS)], _Side, _Side]
    mean: Tuple[_Level, _Level, _Level]
    std: Tuple[_Deviation, _Deviation, _Deviation]
    crop_ratio: Union[Literal[0], Annotated[float, Range(CROP_RATIO, 1)]] = 0
    labels: List[str] = []
    precision: Literal['float32', 'float16'] = 'float32'
    reports: Dict[str, Dict[str, Any]] = {}
    openatac: str = ''
    arguments: Dict[str, Any] = {}
    sha256: Dict[str, str] = {}


def form_files(prefix, form):
    """The files of one of FORMS, by their names."""
    if form.startswith('onnx'):
        return [prefix + form[len('onnx'):] + '.onnx']
    name = prefix if form == 'symbol' else '%s-%s' % (prefix, form)
    return [name + '-symbol.json', name + '-0000.params']


def prefix_of(path):
    """The PREFIX of the export that ``path`` names: PREFIX itself or any of its files."""
    for form in FORMS[::-1]:
        for suffix in form_files('', form):
            if path.endswith(suffix):
                return path[:-len(suffix)]
    return path[:-len('.json')] if path.endswith('.json') else path


def form_of(path):
    """The form whose file ``path`` is, None for a PREFIX or its description."""
    for form in FORMS[::-1]:
        if any(path.endswith(suffix) for suffix in form_files('', form)):
            return form
    return None


def write_description(path, description):
    """Write the file ``path``; the caller makes it whole (see `openatac.files.writing`)."""
    with open(path, 'w', encoding='utf-8') as handle:
        json.dump(description._asdict(), handle, indent=1)
        handle.write('\n')


def read_description(prefix):
    """The `Description` of an export; OpenatacError if there is none, or it is damaged."""
    path = prefix + '.json'
    try:
        description = read_json(path, Description)
        if len(description.labels) not in (0, description.classes):
            raise ValueError(f'it has {len(description.labels)} labels for {description.classes} classes')
        return description
    except FileNotFoundError:
        raise OpenatacError('there is no export %s: %s is missing; make it by openatac export'
                            % (prefix, os.path.basename(path))) from None
    except OSError as error:
        raise OpenatacError('%s cannot be read: %s' % (path, error.strerror)) from None
    except ValueError as error:
        raise OpenatacError('%s is not the description of an export, or damaged, or of another version of '
                            'openatac (%s): export again' % (path, error)) from None
