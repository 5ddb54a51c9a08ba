"""Measure the accuracy of an exported network on labelled images.

EXPORT is the common prefix of an export's files, or one of those files (symbol, fused, int8, ONNX or ONNX in
INT8) to run that form. IMAGES is a folder with a subfolder for each class, a folder whose images --val-labels
lists, or a record file. Images that cannot be read are named and left out, and the exit code is then 1.

--report writes to a folder: report.json, classes.csv (each class's accuracy, and what it is mistaken for),
confusion.csv and confusion.png (rows: classes, columns: predictions) and calibration.csv. The expected
calibration error is the mean difference between accuracy and score over 15 bins of equal width by the score
of the predicted class, weighted by their images (Guo et al., ICML 2017, equation 3).
"""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.labels_flag import add_labels, class_names_from_flag
from openatac.commands.shared.trained_network_flags import add_engine
from openatac.console.streams import on_terminal
from openatac.data.batch_sizes import INFERENCE_BATCH
from openatac.data.images.listed import list_in
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS, NAMES_WITH_LABELS, split_name
from openatac.errors import DataError, FlagError, UsageError
from openatac.export.forms.base import prefix_of
from openatac.export.runtimes.base import open_runtime
from openatac.export.runtimes.choice import runtime_for
from openatac.options.command_line import add_flags
from openatac.text import for_terminal
from openatac.trained.manifest import Manifest, read_manifest
from openatac.training.sections.shared import Output

if TYPE_CHECKING:
    from openatac.trained.input_images import InputImages


def main(argv: list[str]) -> int:
    """Run ``openatac evaluate``; see the module."""
    p = _parser()
    args = p.parse_args(argv)
    if (args.images is None) == (args.dataset is None):
        raise UsageError('give either IMAGES or --dataset')
    if args.data_dir and not args.dataset:
        raise FlagError('--data-dir', 'it applies only to --dataset; leave it out')
    is_folder = bool(args.images) and not args.images.endswith('.rec')
    if is_folder and not args.val_labels:
        args.val_labels = list_in(args.images)
    for flag, value in (('--val-labels', args.val_labels), ('--class-list', args.class_list)):
        if value and not (is_folder and args.val_labels):
            raise FlagError(flag, 'it applies only to a folder with a list of labels; leave it out')
    return _evaluate(args)


def _parser() -> argparse.ArgumentParser:
    p = command_parser('evaluate', __doc__)
    p.add_argument('export', metavar='EXPORT', help='an export, or one of its files')
    p.add_argument('images', metavar='IMAGES', nargs='?', help='folder of labelled images, or record file')
    p.add_argument('--val-labels', metavar='FILE',
                   help='list of the files in IMAGES and their labels (.csv, .txt or .lst)')
    p.add_argument('--class-list', metavar='FILE',
                   help="names of the classes, for a list of numbers without file names, such as ILSVRC's")
    p.add_argument('--dataset', choices=NAMES_WITH_LABELS,
                   help='use the test images of a data set instead of IMAGES')
    p.add_argument('--data-dir', metavar='DIR', help="folder of that data set (default: Gluon's own folder)")
    add_engine(p)
    add_labels(p)
    p.set_defaults(report=None, predictions=None)
    add_flags(p.add_argument_group('output'), Output, ['report', 'predictions'])
    return p


def _evaluate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from openatac.evaluation.classification_report import ClassificationReport
    from openatac.trained.input_transform import named_batches
    prefix = prefix_of(args.export)
    manifest = read_manifest(prefix)
    class_names = class_names_from_flag(args.labels, manifest)
    report = ClassificationReport(args.report, args.predictions)
    images = _find_images(args, manifest, class_names)
    runtime = open_runtime(prefix, args.engine or runtime_for(args.export))
    evaluated: list[str] = []
    batches = named_batches(images, manifest, len(images))
    for names, inputs, labels in tqdm(batches, total=-(-len(images) // INFERENCE_BATCH), unit='batch',
                                      leave=False, disable=not on_terminal()):
        report.outcomes.add(runtime(inputs), labels)
        evaluated += names
    if not evaluated:
        raise DataError('none of the images can be read: choose others')
    print(f'{for_terminal(args.export)}: {report.outcomes.summary()} ({runtime.name})')
    for line in report.write(evaluated, class_names):
        print(for_terminal(line))
    return 1 if len(evaluated) < len(images) else 0


def _find_images(args: argparse.Namespace, manifest: Manifest, names: list[str]) -> InputImages:
    """Return the labelled images; ``names`` are those of --labels, by default the manifest's."""
    from openatac.trained import input_images
    if args.dataset:
        outputs = BUILT_IN_DATASETS[split_name(args.dataset)[0]].outputs
        if outputs != manifest.classes:
            raise DataError(f'{args.dataset} is for networks with {outputs} outputs, and {args.export} has '
                            f'{manifest.classes}: give images of its classes')
        return input_images.from_dataset(args.dataset, args.data_dir, train=False)
    if args.images.endswith('.rec'):
        return input_images.from_records(args.images, manifest, names)
    if args.val_labels:
        return input_images.from_list(args.images, args.val_labels, manifest, args.class_list, names)
    return input_images.from_class_folders(args.images, manifest, names)
