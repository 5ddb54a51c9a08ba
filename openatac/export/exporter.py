"""A trained network exported in the forms that are asked for, with what was found of them in words."""
from __future__ import annotations

import logging
from typing import Any, Dict, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from openatac.errors import DataError, OpenatacError
from openatac.export.bundle import export
from openatac.export.labelled import Labelled, batches, inputs, of_classes, of_images
from openatac.export.manifest import INT8_FORMS, read_description, write_description
from openatac.export.runtimes import engine_of, open_engine
from openatac.export.trained import Trained, of_run
from openatac.files.writing import replace_file

COMPARED, CALIBRATED = 64, 256  # images
log = logging.getLogger('openatac')


def export_run(folder: str, out: str) -> None:
    """Export the best network of the run in ``folder`` as symbol files, and log what was found."""
    for line in export_trained(of_run(folder), out):
        log.info('%s', line)


def export_trained(trained: Trained, out: str, forms: Sequence[str] = ('symbol',),
                   images: Optional[str] = None, calibrate: Optional[str] = None,
                   mode: str = 'entropy') -> List[str]:
    """Export a network in ``forms``; returns the lines that report it.

    images, calibrate : folders to take images from, instead of its own; the rest is for `bundle.export`
    """
    real, lines = _real_images(trained, images)
    calibration = _calibration(trained, calibrate) if 'int8' in forms else ()
    description = export(trained.net, out, trained.description, forms, real, calibration, mode)
    return lines + table(description.reports) + [
        f'{form}: {report["note"]}' for form, report in description.reports.items() if 'note' in report
    ] + [f'exported {description.model} to {out}.json and the files named like it']


# ------------------------------------------------------------------------------------ images

def _real_images(trained: Trained, folder: Optional[str]) -> Tuple[Optional[np.ndarray], List[str]]:
    """(inputs made of real images or None, lines that say why there are none)."""
    if folder is not None:
        return inputs(of_images(folder), trained.description, COMPARED), []
    try:
        return inputs(trained.images(train=False), trained.description, COMPARED), []
    except DataError as error:
        return None, [f'compared on random images only, since {error}; --images names real ones']


def _calibration(trained: Trained, folder: Optional[str]) -> List[np.ndarray]:
    """The batches of inputs on which INT8 finds its ranges."""
    try:
        images = of_images(folder) if folder else trained.images(train=True)
        calibrating = inputs(images, trained.description, CALIBRATED)
    except DataError as error:
        raise OpenatacError(f'--int8 needs images: {error}; name a folder of them by --calibrate') from None
    return [calibrating[start:start + 32] for start in range(0, len(calibrating), 32)]


# ---------------------------------------------------------------------------------- accuracy

def find_labelled(trained: Trained, folder: Optional[str]) -> Tuple[Optional[Labelled], List[str]]:
    """(labelled images of ``folder``, else its test images or None; lines that say why there are none)."""
    if folder:
        return of_classes(folder, trained.description), []
    try:
        return trained.images(train=False), []
    except DataError as error:
        return None, [f"INT8's accuracy was not measured, since {error}; --measure names labelled images"]


def measure_int8(trained: Trained, out: str, labelled: Labelled, count: int) -> str:
    """Measure the accuracy before and after INT8 and add it to OUT.json; returns the line that reports it."""
    from openatac.export.quantize import accuracies
    description = read_description(out)
    forms = [form for form in INT8_FORMS if form in description.reports]
    engines = [open_engine(out, engine_of(form)) for form in forms]
    trained.net.hybridize(static_alloc=True)
    networks = [lambda images, engine=engine: mx.nd.array(engine(images.asnumpy())) for engine in engines]
    (before, *after), images = accuracies([trained.net, *networks],
                                          batches(labelled, trained.description, count))
    for form, accuracy in zip(forms, after):
        description.reports[form]['accuracy'] = {'float32': before, 'int8': accuracy, 'images': images}
    with replace_file(out + '.json') as temporary:
        write_description(temporary, description)
    names = {'int8': 'INT8', 'onnx-int8': 'INT8 as ONNX'}
    return f'accuracy on {images} labelled images: {before:.4f} in float32, ' + ', '.join(
        f'{accuracy:.4f} in {names[form]}' for form, accuracy in zip(forms, after))


# ------------------------------------------------------------------------------------ report

def table(reports: Dict[str, Dict[str, Any]]) -> List[str]:
    """The lines that show the figures of {form: report}."""
    row = '{:<9} {:>8} {:>15} {:>14} {:>11} {:>12}'.format
    lines = [row('form', 'MB', 'max difference', 'top-1 agreement', 'ms, 1 image', 'ms, 16 images')]
    for form, report in reports.items():
        milliseconds = report['milliseconds']
        lines.append(row(form, f'{report["bytes"] / 1e6:.2f}', f'{report["max_difference"]:.2g}',
                         f'{report["top1_agreement"]:.3f}', f'{milliseconds["1"]:.1f}',
                         f'{milliseconds["16"]:.1f}'))
    some, fused = next(iter(reports.values())), reports.get('fused')
    kind = 'real' if some['real_images'] else 'random'
    lines.append(f'compared on {some["random_images"]} random and {some["real_images"]} real images, outputs '
                 f'up to {some["largest_output"]:.3g}; agreement on the {kind} ones')
    if fused:
        operators, norms = fused['operators'], fused['batch_norms']
        lines.append(f'fused: {operators[0]} operators became {operators[1]}, {norms[0]} BatchNorms '
                     f'{norms[1]}')
    return lines
