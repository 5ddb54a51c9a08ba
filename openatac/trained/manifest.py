"""The manifest of an export, PREFIX.json: how to use the network, and a report on each form."""
from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal, NamedTuple, Union

from openatac.errors import OpenatacError, reason
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.files.run_file_names import holds_run
from openatac.files.schema import read_json
from openatac.limits import MAX_CHANNELS, MAX_CLASSES, MAX_SIDE, MIN_CROP_RATIO, Bounds

_Side = Annotated[int, Bounds(1, MAX_SIDE)]
_Level = Annotated[float, Bounds(-1e6, 1e6)]  # pixel values, 0 to 255
_Deviation = Annotated[float, Bounds(1e-6, 1e6)]
# Shared default values: never modify them.
_NO_LABELS: list[str] = []
_NOTHING: dict[str, Any] = {}


class Manifest(NamedTuple):
    """How to use a network: its input, its classes and the forms in which it was exported.

    Attributes
    ----------
    model : str
        Its name in the zoo, or a name chosen by its owner.
    classes : int
    image_shape : (C, H, W)
        The shape of its input.
    mean, std : tuple of float
        Per channel, of pixel values from 0 to 255 (RGB): the input is (pixel - mean) / std.
    crop_ratio : float
        Images are resized to cover (H, W) / crop_ratio, then the centre is cut out; 0 if they are resized to
        (H, W) directly.
    labels : list of str
        The names of the classes, or [].
    precision : str
        The precision of the symbol files: 'float32' or 'float16'.
    reports : dict
        {form: {'max_difference', 'top1_agreement', 'bytes', 'milliseconds', ...}}, from the comparison of
        each form with the network.
    openatac : str
        The version of openatac that exported it.
    arguments : dict
        Further arguments of its host, such as {'r': 2, 'useGlobal': True}.
    sha256 : dict
        {ending of a file name, after PREFIX: checksum}, see `openatac.files.export_checksums`.
    """

    model: str
    classes: Annotated[int, Bounds(1, MAX_CLASSES)]
    image_shape: tuple[Annotated[int, Bounds(1, MAX_CHANNELS)], _Side, _Side]
    mean: tuple[_Level, _Level, _Level]
    std: tuple[_Deviation, _Deviation, _Deviation]
    crop_ratio: Union[Literal[0], Annotated[float, Bounds(MIN_CROP_RATIO, 1)]] = 0
    labels: list[str] = _NO_LABELS
    precision: Literal['float32', 'float16'] = 'float32'
    reports: dict[str, dict[str, Any]] = _NOTHING
    openatac: str = ''
    arguments: dict[str, Any] = _NOTHING
    sha256: dict[str, str] = _NOTHING


def write_manifest(path: str, manifest: Manifest) -> None:
    """Write the manifest to ``path``; the caller makes this atomic (see `openatac.files.writing`)."""
    with open(path, 'w', encoding='utf-8') as handle:
        json.dump(manifest._asdict(), handle, indent=1)
        handle.write('\n')


def read_manifest(prefix: str) -> Manifest:
    """Return the `Manifest` of the export ``prefix``; raise OpenatacError if it is missing or damaged."""
    path = prefix + MANIFEST_SUFFIX
    try:
        manifest = read_json(path, Manifest)
        if len(manifest.labels) not in (0, manifest.classes):
            raise ValueError(f'it has {len(manifest.labels)} labels for {manifest.classes} classes')
        return manifest
    except FileNotFoundError:
        raise _no_export(prefix) from None
    except OSError as error:
        raise OpenatacError(f'{path} cannot be read: {reason(error)}') from None
    except ValueError as error:
        raise OpenatacError(f'{path} is not the manifest of an export, or is damaged, or of another version '
                            f'of openatac ({error}): export again') from None


def _no_export(prefix: str) -> OpenatacError:
    write = ('write one with openatac export (predict and serve also accept a run, or its parameters, with '
             '--model)')
    if holds_run(prefix):
        return OpenatacError(f'{prefix} is the folder of a run, not an export: {write}')
    if not os.path.isfile(prefix):
        return OpenatacError(f'there is no file or export {prefix}: {os.path.basename(prefix)}.json is '
                             'missing; create it with openatac export')
    if holds_run(os.path.dirname(prefix)):
        return OpenatacError(f'{prefix} is a file of a run, not of an export: {write}')
    return OpenatacError(f'{prefix} is not a file of an export, and no settings.json beside it describes '
                         'its network: put it into the folder of its run')
