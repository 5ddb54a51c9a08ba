"""Classify image files with an exported network.

EXPORT is the common prefix of an export's files, or one of those files (symbol, fused, int8, ONNX or ONNX in
INT8) to run that form; leave it out with --model. IMAGES are files of any size (JPEG, PNG and whatever else
Pillow reads, except EPS), folders (searched recursively), or - for one image from standard input. For each
image the command prints the classes with the highest scores, which are probabilities (softmax); the table
omits the folder that all images share. Images that cannot be read are named and left out, and the exit code
is then 1.
"""
from __future__ import annotations

import argparse
import json
import os
import sys

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.figure_flags import figure_file
from openatac.commands.shared.labels_flag import add_labels, with_labels
from openatac.commands.shared.trained_network_flags import add_engine, add_model
from openatac.console import streams
from openatac.data.batch_sizes import INFERENCE_BATCH
from openatac.errors import FlagError, UsageError
from openatac.export.forms.base import prefix_of
from openatac.export.runtimes.base import open_runtime
from openatac.export.runtimes.choice import runtime_for
from openatac.inference.predictor import TOP, PredictedBatch, Predictor, load
from openatac.options.flag_types import BATCH_SIZE, CLASSES
from openatac.system.processor import int8_line
from openatac.text import for_terminal, printable


def main(argv: list[str]) -> int:
    """Run ``openatac predict``; see the module."""
    p = command_parser('predict', __doc__)
    p.add_argument('export', metavar='EXPORT', nargs='?', help='an export, or one of its files')
    p.add_argument('images', metavar='IMAGES', nargs='+', help='image files, folders, or -')
    add_model(p)
    p.add_argument('--top', type=CLASSES, default=TOP, metavar='K',
                   help='classes to print (default: %(default)s)')
    add_labels(p)
    p.add_argument('--json', action='store_true', help='print a line of JSON for each image')
    p.add_argument('--batch-size', type=BATCH_SIZE, default=INFERENCE_BATCH, metavar='N',
                   help='images at a time (default: %(default)s)')
    add_engine(p)
    p.add_argument('--gates', metavar='FILE', type=figure_file,
                   help="plot the gates of each ATAC unit for the first image")
    args = p.parse_intermixed_args(argv)  # EXPORT may be missing, and options may follow it
    if args.model:
        args.images = [*filter(None, [args.export]), *args.images]
        for flag in ('engine', 'gates'):
            if getattr(args, flag):
                raise FlagError(f'--{flag}', 'it is for an export; leave out --model')
    elif not args.export:
        raise UsageError('give an EXPORT before the images, or a network with --model')
    if args.images.count('-') > 1:
        raise FlagError('IMAGES', '- can be given only once')
    if args.gates:
        from openatac.inference.gate_maps import check_matplotlib
        check_matplotlib()
    return _predict(args)


def _predict(args: argparse.Namespace) -> int:
    from openatac.data.images.image_paths import find_images
    paths = list(find_images(args.images))
    if args.model:
        predictor = load(args.model, batch_size=args.batch_size)
    else:
        runtime = open_runtime(prefix_of(args.export), args.engine or runtime_for(args.export))
        predictor = Predictor(runtime, args.batch_size)
    predictor = predictor.with_manifest(with_labels(args.labels, predictor.manifest))
    if not args.model and runtime.form.is_quantized:
        streams.print_to_stderr(int8_line())
    printer = _Printer(predictor, paths, args.top, args.json)
    figure, left_out = args.gates, 0
    for batch in predictor.predict(paths):
        if figure and batch.names:
            _draw_gates(figure, prefix_of(args.export), predictor, batch)
            figure = None
        for path, reason in batch.left_out:
            streams.print_to_stderr(f'left out {path}: {reason}')
        printer.show(batch)
        left_out += len(batch.left_out)
    return 1 if left_out else 0


def _draw_gates(path: str, prefix: str, predictor: Predictor, batch: PredictedBatch) -> None:
    from openatac.inference.gate_maps import draw_gate_maps
    image = batch.inputs[0]
    best = predictor.best(batch.scores[0], 1)[0]
    name = os.path.basename(batch.names[0])
    title = f'{name} in {predictor.manifest.model}: {best.label} ({best.score:.2f})'
    draw_gate_maps(path, prefix, image, predictor.transform.to_pixels(image), title)


def _common_folder(paths: list[str]) -> str:
    """Return the deepest folder that contains all images; '' if there is none."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # both absolute and relative paths
        return ''


class _Printer:
    """Prints the predictions of a batch, as lines of JSON or as a table."""

    def __init__(self, predictor: Predictor, paths: list[str], top: int, as_json: bool) -> None:
        self._predictor = predictor
        self._as_json = as_json
        self._top = min(top, predictor.manifest.classes)
        self._folder = printable(os.path.join(_common_folder(paths), ''))
        image = max(len(name) for name in ['image', *map(self._short, paths)])
        label = max(len(for_terminal(name)) for name in ['label', *predictor.labels])
        self._row = f'{{:<{image}}}  {{:>5}}  {{:<{label}}}  {{:>6}}'.format
        self._needs_head = not as_json

    def _short(self, path: str) -> str:
        return for_terminal(printable(path).removeprefix(self._folder))

    def show(self, batch: PredictedBatch) -> None:
        """Print the predictions for a batch."""
        if self._needs_head and batch.names:
            print(self._row('image', 'class', 'label', 'score'))
            self._needs_head = False
        for name, scores in zip(batch.names, batch.scores):
            best = self._predictor.best(scores, self._top)
            if self._as_json:
                print(json.dumps({'image': name, 'predictions': [each.for_json() for each in best]}))
                continue
            for rank, (label, score, index) in enumerate(best):
                print(self._row(self._short(name) if rank == 0 else '', index, for_terminal(label),
                                f'{score:.4f}'))
        sys.stdout.flush()
