"""Export a network: write each form, load it back, compare it, and put all files in place as one set."""
from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from openatac.errors import DataError, OpenatacError, last_line
from openatac.export.file_set import replace_set
from openatac.export.forms.base import FORMS, ExportSettings, Form, NetworkToWrite, check_export_name
from openatac.export.parity import ParityCheck, ParityError
from openatac.export.runtimes.base import RUNTIMES
from openatac.files.checksums import file_sha256
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.files.writing import writing
from openatac.library import PYTORCH, NetworkFunction, library_of
from openatac.text import text_table
from openatac.trained import input_images
from openatac.trained.input_transform import sample_inputs
from openatac.trained.manifest import Manifest, write_manifest
from openatac.trained.trained_network import TrainedNetwork, load_run
from openatac.version import __version__

if TYPE_CHECKING:
    import mxnet as mx

COMPARED, CALIBRATED, CALIBRATION_BATCH = 64, 256, 32  # images
log = logging.getLogger('openatac')


def export(net: Any, prefix: str, manifest: Manifest, settings: ExportSettings,
           images: np.ndarray | None = None, calibration_images: Sequence[np.ndarray] = ()) -> Manifest:
    """Write forms of a network to files whose names begin with ``prefix``.

    Each form is loaded back by its runtime and compared with the network. Only then are the files put in
    place, all or none; files of an older export that are not in the new one are removed.

    Parameters
    ----------
    net : HybridBlock or torch.nn.Module
        An initialised network, in float32.
    prefix : str
    manifest : Manifest
        The manifest of the network, without reports; its precision applies to the symbol form.
    settings : ExportSettings
    images : float32 (N, C, H, W), optional
        Inputs from real images for the comparison, in addition to random ones.
    calibration_images : sequence of float32 (B, C, H, W)
        Inputs to calibrate quantized forms on.

    Returns
    -------
    Manifest
        The manifest as written, with a report for each form.

    Raises
    ------
    ValueError
        For no form, or if the files would belong to the export of another prefix.
    OpenatacError
        If a form's outputs differ from those of ``net``, or the files cannot be written.
    """
    check_export_name(prefix)
    if not settings.forms:
        raise ValueError('an export needs at least one form')
    old = [prefix + MANIFEST_SUFFIX, *(path for form in FORMS.values() for path in form.files(prefix))]
    advice = 'choose another folder, or free some disk space; the files that were there are unchanged'
    with writing(prefix, advice), replace_set(prefix, old, last=prefix + MANIFEST_SUFFIX) as aside:
        function = library_of(net).function(net)
        check = _parity_check(function, manifest, images)
        network = NetworkToWrite(net, function, *_trace(net), manifest, settings, calibration_images)
        reports = {form.name: _export_form(form, network, check, aside) for form in settings.forms}
        checksums = {path[len(aside):]: file_sha256(path)
                     for form in settings.forms for path in form.files(aside)}
        manifest = manifest._replace(reports=reports, openatac=__version__, sha256=checksums)
        write_manifest(aside + MANIFEST_SUFFIX, manifest)
    return manifest


def _trace(net: Any) -> tuple[mx.sym.Symbol | None, dict[str, mx.nd.NDArray]]:
    """Return the symbol and the arrays of a Gluon network; (None, {}) for a PyTorch module."""
    if library_of(net) is PYTORCH:
        return None, {}
    from openatac.export.tracing import trace
    return trace(net)


def _parity_check(function: NetworkFunction, manifest: Manifest, images: np.ndarray | None) -> ParityCheck:
    try:
        return ParityCheck(function, manifest.image_shape, images)
    except OpenatacError:
        raise
    except (RuntimeError, ValueError) as error:  # from either library
        _, height, width = manifest.image_shape
        raise OpenatacError(f'{manifest.model} does not take images of {height} x {width} pixels '
                            f'({last_line(error)}): choose another input size') from None


def _export_form(form: Form, network: NetworkToWrite, check: ParityCheck, prefix: str) -> dict[str, Any]:
    """Write the files of a form, load them back and compare; return the report."""
    try:
        form.write(network, prefix)
        runtime = RUNTIMES.find(form.runtime)
        obstacle = runtime.obstacle(prefix)
        if obstacle:
            raise OpenatacError(f'the {form.name} form cannot be checked, since {obstacle}')
        load = functools.partial(runtime, prefix)
        report = check.report(load(network.manifest), form.tolerance(network.manifest))
        report.update(form.details(network, prefix, check, load))
    except ParityError as error:
        raise OpenatacError(f'the {form.name} form is not exported: {error}') from None
    except OpenatacError:
        raise
    except RuntimeError as error:  # from either library
        raise OpenatacError(f'the {form.name} form cannot be made or run ({last_line(error)})') from None
    return {**report, 'bytes': sum(map(os.path.getsize, form.files(prefix)))}


# ---------------------------------------------------------------------------- trained networks

def export_run(folder: str, prefix: str) -> None:
    """Export the best network of the run in ``folder`` as symbol files, and log the report."""
    for line in export_trained(load_run(folder), prefix, ExportSettings([FORMS.find('symbol')])):
        log.info('%s', line)


def export_trained(trained: TrainedNetwork, prefix: str, settings: ExportSettings,
                   images_folder: str | None = None, calibration_folder: str | None = None) -> list[str]:
    """Export a trained network; return log lines with the result.

    Parameters
    ----------
    trained : TrainedNetwork
    prefix : str
    settings : ExportSettings
    images_folder, calibration_folder : str, optional
        Folders of images for comparison and calibration, instead of the network's own.

    Raises
    ------
    OpenatacError
        As in `export`, and if a form needs calibration images and there are none.
    """
    real, lines = _real_images(trained, images_folder)
    calibration_images = _calibration_images(trained, calibration_folder) if settings.has_quantized else []
    manifest = export(trained.net, prefix, trained.manifest, settings, real, calibration_images)
    return [*lines, *_table(manifest.reports),
            *(f'{form.name}: {remark}' for form in settings.forms
              for remark in form.remarks(manifest.reports[form.name])),
            f'exported {manifest.model} to {prefix}{MANIFEST_SUFFIX} and the files beside it']


def _real_images(trained: TrainedNetwork, folder: str | None) -> tuple[np.ndarray | None, list[str]]:
    """Return inputs from real images; None, with log lines that say why, if there are none."""
    if folder is not None:
        return sample_inputs(input_images.from_folder(folder), trained.manifest, COMPARED), []
    try:
        return sample_inputs(trained.open_images(train=False), trained.manifest, COMPARED), []
    except DataError as error:
        return None, [f'compared on random images only, since {error}; give real ones with --images']


def _calibration_images(trained: TrainedNetwork, folder: str | None) -> list[np.ndarray]:
    """Return the batches of inputs to calibrate quantized forms on."""
    try:
        images = input_images.from_folder(folder) if folder else trained.open_images(train=True)
        inputs = sample_inputs(images, trained.manifest, CALIBRATED)
    except DataError as error:
        raise OpenatacError(f'quantized forms (--int8) need images: {error}; give a folder of them '
                            'with --calibrate') from None
    return [inputs[start:start + CALIBRATION_BATCH] for start in range(0, len(inputs), CALIBRATION_BATCH)]


def _table(reports: dict[str, dict[str, Any]]) -> list[str]:
    """Format {form: report} as the lines of a table."""
    first, *_ = reports.values()
    kind = 'real' if first['real_images'] else 'random'
    table = text_table([
        ('form', 'MB', 'max difference', 'top-1 agreement', 'ms, 1 image', 'ms, 16 images'),
        *((form, f'{report["bytes"] / 1e6:.2f}', f'{report["max_difference"]:.2g}',
           f'{report["top1_agreement"]:.3f}', *map('{:.1f}'.format, report['milliseconds'].values()))
          for form, report in reports.items())])
    return [*table.splitlines(),
            f'compared on {first["random_images"]} random and {first["real_images"]} real images, outputs up '
            f'to {first["largest_output"]:.3g}; agreement on the {kind} ones']
