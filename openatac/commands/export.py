"""Write a trained network as files that other programs load.

RUN is the folder of a run of train-cifar or train-imagenet; the command exports its best network. MODEL is a
network's name, or a run, and PARAMS a file of its parameters. The command writes OUT-symbol.json and
OUT-0000.params, for Gluon's SymbolBlock.imports, mx.model.load_checkpoint and the Module API, and OUT.json,
which describes how to use them: classes, labels, input size, mean and standard deviation. Without MXNet it
uses PyTorch and writes OUT.onnx (--onnx) and OUT.json.

Each form is loaded back and compared with the network on random images and on real ones (--images, or else
the run's test images if available). Unless all agree, nothing is written and an older export is left
unchanged. The figures are printed and kept in OUT.json. With --int8 they include the accuracy in float32 and
in INT8 on labelled images (--measure, or else the run's test images if available).
"""
from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.labels_flag import add_labels, with_labels
from openatac.data.small.built_in_datasets import NAMES_WITH_LABELS
from openatac.errors import FlagError, UsageError
from openatac.export.forms.base import FORMS, ExportSettings, Form, check_export_name
from openatac.export.int8.calibration_methods import CALIBRATION_METHODS
from openatac.files.writing import check_prefix
from openatac.options.command_line import add_flags, flag_of, naming
from openatac.options.declaration import Role, section_fields
from openatac.options.flag_types import CLASSES, IMAGES, ImageSize
from openatac.system.installed import has_mxnet
from openatac.system.processor import int8_line
from openatac.text import for_terminal
from openatac.training.sections.cifar import CifarNetwork
from openatac.training.sections.imagenet import ImagenetNetwork

if TYPE_CHECKING:
    from openatac.trained.trained_network import TrainedNetwork

MEASURED = 10000  # images
# {option of a network given by name: its section}, CIFAR's where both have it. A run knows its options.
_NETWORK = {name: section for section in (ImagenetNetwork, CifarNetwork)
            for name, field in section_fields(section).items() if field.has(Role.IN_MANIFEST)}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    p = command_parser('export', __doc__, usage=(
        '%(prog)s [options] RUN OUT\n       %(prog)s [options] MODEL PARAMS OUT'))
    p.add_argument('names', metavar='RUN | MODEL PARAMS, OUT', nargs='+',
                   help='what to export, and the prefix of the files')
    _add_forms(p.add_argument_group('forms'))
    network = p.add_argument_group('network (already known for a run)')
    network.add_argument('--classes', type=CLASSES, default=argparse.SUPPRESS,
                         help='outputs of the network (default: as many as PARAMS has)')
    network.add_argument('--dataset', choices=NAMES_WITH_LABELS, default=argparse.SUPPRESS,
                         help='data set that MODEL was trained on, for labels, images and calibration')
    for section in (CifarNetwork, ImagenetNetwork):
        add_flags(network, section, [name for name, owner in _NETWORK.items() if owner is section])
    _add_images(p.add_argument_group('images'))
    return p


def _add_forms(group: Any) -> None:
    helps: dict[str, str] = {}
    for form in FORMS.values():
        for flag in form.flags:
            helps.setdefault(flag, form.help)
    for flag, text in helps.items():
        group.add_argument(flag, action='store_true', help=text)
    group.add_argument('--calibration', choices=CALIBRATION_METHODS, default=CALIBRATION_METHODS[0],
                       help='how --int8 chooses the range of each tensor; OUT-int8.onnx always uses '
                            'the extremes (default: %(default)s)')
    group.add_argument('--dynamic-size', action='store_true',
                       help='ONNX files take images of any height and width')
    group.add_argument('--precision', choices=('float32', 'float16'), default='float32',
                       help='precision of OUT-symbol.json and its parameters; float16 is for GPUs (default: '
                            '%(default)s)')
    add_labels(group, 'the labels of the data set')
    group.add_argument('--input-size', type=ImageSize(low=1),
                       help="size of the input images, a side or HEIGHTxWIDTH (default: the run's, else the "
                            "network's)")


def _add_images(group: Any) -> None:
    group.add_argument('--images', metavar='FOLDER', help='compare on images in FOLDER and its subfolders')
    group.add_argument('--calibrate', metavar='FOLDER',
                       help="images for --int8 (default: the run's training images)")
    group.add_argument('--measure', metavar='FOLDER',
                       help="labelled images for the accuracy of --int8, in a subfolder per class (default: "
                            "the run's test images)")
    group.add_argument('--measure-images', type=IMAGES, default=MEASURED,
                       metavar='N', help='use at most N of them, evenly spread (default: %(default)s)')
    group.add_argument('--data-dir', help='folder of the images of the run, or of --dataset (default: the '
                                          "run's own)")


def main(argv: list[str]) -> int:
    """Run ``openatac export``; see the module."""
    p = parser()
    args = _parse(p, argv)
    settings = ExportSettings(_forms(args, has_mxnet()), args.calibration, args.dynamic_size)
    _check(args, settings)
    trained = _find(args)
    from openatac.export.exporter import export_trained
    from openatac.library import PYTORCH, library_of
    if library_of(trained.net) is PYTORCH:
        settings = settings._replace(forms=_forms(args, in_gluon=False))
    manifest = with_labels(args.labels, trained.manifest)._replace(precision=args.precision)
    labelled = None
    lines = list[str]()
    if settings.has_quantized:
        from openatac.export.accuracy import find_labelled, measure_quantized
        labelled, lines = find_labelled(trained, args.measure, manifest.labels)
        print(int8_line())
    trained = trained._replace(manifest=manifest)
    for line in export_trained(trained, args.out, settings, args.images, args.calibrate) + lines:
        print(for_terminal(line))
    if labelled is not None:
        print(measure_quantized(trained, args.out, labelled, args.measure_images))
    return 0


def _parse(p: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Parse a command line; ``source`` is RUN or MODEL, ``params`` is PARAMS or None, and ``out`` is OUT."""
    args = p.parse_intermixed_args(argv)
    if not 2 <= len(args.names) <= 3:
        raise UsageError(f'expected RUN OUT or MODEL PARAMS OUT, not {len(args.names)} arguments')
    args.source, *params, args.out = args.names
    args.params = params[0] if params else None
    return args


def _check(args: argparse.Namespace, settings: ExportSettings) -> None:
    """Raise UsageError, with a one-sentence message, for flags that cannot be combined."""
    is_run = os.path.isdir(args.source)
    with naming('OUT'):
        check_prefix(args.out, beside_folder=False)
        check_export_name(args.out)
    if args.params is None and not is_run:
        raise FlagError('RUN', f'there is no folder {args.source!r}; for a network by its name give MODEL '
                        'PARAMS OUT')
    given = _network_settings(args)
    if is_run and given:
        raise FlagError(flag_of(next(iter(given))), f'the run in {args.source} sets it; leave it out')
    _check_forms(args, settings, has_images=bool(is_run or args.calibrate or 'dataset' in given))


def _check_forms(args: argparse.Namespace, settings: ExportSettings, has_images: bool) -> None:
    """Raise UsageError for forms that other flags rule out."""
    for form in settings.forms:
        flags = ' '.join(form.flags)
        if args.precision not in form.precisions:
            raise FlagError('--precision', f'{args.precision} is for GPUs, and {flags} is not; '
                            'export twice, with another OUT')
        if form.is_quantized and not has_images:
            raise FlagError(flags, '--calibrate must name a folder of images like the training images')
    if settings.dynamic_size and not args.onnx:
        raise FlagError('--dynamic-size', 'it is for ONNX files; add --onnx')
    if args.measure and not settings.has_quantized:
        raise FlagError('--measure', 'it measures the accuracy of quantized forms; add --int8')


def _network_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return {name: value} of the network's options that are given."""
    return {name: getattr(args, name) for name in ('classes', 'dataset', *_NETWORK) if hasattr(args, name)}


def _find(args: argparse.Namespace) -> TrainedNetwork:
    """Load the network that the command line names; UsageError for a wrong name or setting."""
    from openatac.trained.trained_network import load_model, load_run
    if os.path.isdir(args.source):
        return load_run(args.source, args.params, args.input_size, args.data_dir)
    return load_model(args.source, args.params, size=args.input_size, data_dir=args.data_dir,
                      **_network_settings(args))


def _forms(args: argparse.Namespace, in_gluon: bool) -> list[Form]:
    """Return the forms to write: the default ones, for a network in Gluon, and those that flags select.

    Raises UsageError for a network in PyTorch if it does not have a selected form, or none is selected.
    """
    forms = [form for form in FORMS.values() if (form.flags or not form.needs_mxnet or in_gluon)
             and all(getattr(args, flag.lstrip('-').replace('-', '_')) for flag in form.flags)]
    if in_gluon:
        return forms
    lacking = 'a network in Gluon, and this one is in PyTorch' if has_mxnet() else \
        'MXNet, which is not installed'
    if not forms:
        raise FlagError('--onnx', f'symbol files need {lacking}; add --onnx for an ONNX file')
    for form in forms:
        if form.needs_mxnet:
            raise FlagError(' '.join(form.flags), f'it needs {lacking}; leave it out')
    return forms
