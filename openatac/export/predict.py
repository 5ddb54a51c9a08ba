"""Image files classified by an exported network.

    openatac predict exports/atac photo.jpg photos/
    openatac predict exports/atac-int8-symbol.json photos/ --json
    openatac predict exports/atac photo.jpg --gates gates.png

EXPORT is what the names of an export's files begin with, or one of them (symbol, fused, int8, ONNX or ONNX
in INT8), which is then the one that is used. IMAGES are files of any size (JPEG, PNG and what else Pillow
reads), folders, searched to the bottom, or - for one image from standard input. Of each image the classes of
the highest scores are printed, the scores being probabilities (softmax). An image that can't be read is
named and left out, and the exit code is then 1.
"""
import argparse
import json
import os
import sys

from openatac.arguments import BATCH, CLASSES, number
from openatac.console import streams
from openatac.console.text import for_terminal
from openatac.export.manifest import INT8_FORMS, prefix_of, read_description
from openatac.export.runtimes import ENGINES, engine_for, open_engine
from openatac.runtime.processor import int8_line


def main(argv):
    """``openatac predict``; see the module."""
    p = argparse.ArgumentParser(prog='openatac predict', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('export', metavar='EXPORT', help='an export, or one of its files')
    p.add_argument('images', metavar='IMAGES', nargs='+', help='image files, folders, or -')
    p.add_argument('--top', type=number(int, low=1, high=CLASSES), default=5, metavar='K',
                   help='classes to print (default: %(default)s)')
    p.add_argument('--json', action='store_true', help='print a line of JSON for each image')
    p.add_argument('--batch-size', type=number(int, low=1, high=BATCH), default=32, metavar='N',
                   help='images at a time (default: %(default)s)')
    p.add_argument('--engine', choices=ENGINES, metavar='NAME', help='what runs the network: %s (default: '
                   "static, or the file's own)" % ', '.join(ENGINES))
    p.add_argument('--gates', metavar='FILE.png', help="draw what each ATAC unit's gates let through of the "
                   'first image')
    args = p.parse_args(argv)
    if args.images.count('-') > 1:
        p.error('argument IMAGES: - can be given only once')
    return _predict(args)


def _predict(args):
    from openatac.export.gate_maps import check_matplotlib
    from openatac.export.images import InputTransform, find_images
    if args.gates:
        check_matplotlib()
    prefix = prefix_of(args.export)
    description = read_description(prefix)
    transform, paths = InputTransform(description), list(find_images(args.images))
    engine = open_engine(prefix, args.engine or engine_for(args.export))
    if engine.form in INT8_FORMS:
        streams.print_to_stderr(int8_line())
    bad, picture = [], args.gates
    lines = _Lines(description, paths, args.top, args.json)
    for names, images in _batches(paths, transform, args.batch_size, bad):
        scores = _softmax(engine(images), names)
        if picture:
            best = lines.labels[scores[0].argmax()]
            _draw_gates(picture, prefix, transform, images[0],
                        '%s: %s (%.2f)' % (os.path.basename(names[0]), best, scores[0].max()))
            picture = None
        lines.show(names, scores)
    return 1 if bad else 0


def _draw_gates(path, prefix, transform, image, title):
    from openatac.export.gate_maps import draw_gate_maps
    draw_gate_maps(path, prefix, image, transform.show(image), title)


def _batches(paths, transform, size, bad):
    """Yield (names, images (B, 3, H, W)); what can't be read is named and goes to the list ``bad``."""
    import numpy as np

    from openatac.export.images import BadImage, read_file, to_pixels
    names, images = [], []
    for path in paths:
        try:
            images.append(transform(to_pixels(read_file(path))))
            names.append(os.fsencode(path).decode('utf-8', 'backslashreplace'))
        except BadImage as error:
            bad.append(path)
            streams.print_to_stderr(f'left out {path}: {error}')
        if len(images) == size:
            yield names, np.stack(images)
            names, images = [], []
    if images:
        yield names, np.stack(images)


def _printable(name):
    """The name of a file or a class as text that every terminal takes: it may be any bytes."""
    return os.fsencode(str(name)).decode('utf-8', 'backslashreplace')


def _softmax(outputs, names):
    """Probabilities (B, classes); OpenatacError if an output is infinite or no number."""
    import numpy as np

    from openatac.errors import OpenatacError
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise OpenatacError('the outputs for %s are infinite or not numbers: export parameters of a run that '
                            'did not diverge' % names[int(wrong.argmax())])
    powers = np.exp(outputs.astype('float64') - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class _Lines:
    """Prints the predictions of a batch, as lines of JSON or of a table with columns as wide as need be."""

    def __init__(self, description, paths, top, as_json):
        self.labels = [_printable(name) for name in description.labels or range(description.classes)]
        self.top, self.as_json = min(top, description.classes), as_json
        self._form = '%%-%ds  %%5s  %%-%ds  %%6s' % (
            max(len(name) for name in ['image', *map(for_terminal, paths)]),
            max(len(for_terminal(label)) for label in ['label', *self.labels]))
        if not as_json:
            print(self._form % ('image', 'class', 'label', 'score'), flush=True)

    def show(self, names, scores):
        """Print the predictions for images called ``names``, probabilities (B, classes)."""
        for name, of_image in zip(names, scores):
            best = (-of_image).argsort(kind='stable')[:self.top].tolist()
            if self.as_json:
                print(json.dumps({'image': name, 'predictions': [
                    {'label': self.labels[index], 'class': index, 'score': round(float(of_image[index]), 6)}
                    for index in best]}))
                continue
            for rank, index in enumerate(best):
                print(self._form % (for_terminal(name) if rank == 0 else '', index,
                                    for_terminal(self.labels[index]), '%.4f' % of_image[index]))
        sys.stdout.flush()
