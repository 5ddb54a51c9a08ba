"""What the gates of trained networks do over a data set, as a table, a CSV file and a picture.

    openatac gates RUN --out gates                    makes gates.csv and gates.png
    openatac gates RUN RUN RUN --images 1000 --out pictures/atac-and-se

RUN is the folder of a run of train_cifar.py or train_imagenet.py; its settings.json tells the network
and the data. Looked at are the test images as they are, in testing mode, on the CPU. For each gated
unit: the gate's mean and standard deviation, how its variance divides among channels, images and
pixels, its shares below 0.1 and above 0.9, and its correlation with the mask [x > 0] of the unit's
input x, the gate that a ReLU would have there. A gate is whatever a unit multiplies its input by:
those of ATAC and the attention blocks, and also of swish, mish and xunit.
"""
import argparse
import dataclasses
import os
import tempfile

from openatac.arguments import IMAGES, number, prefix
from openatac.console.escapes import for_terminal
from openatac.console.text_table import text_table
from openatac.errors import OpenatacError
from openatac.files.writing import write_csv, writing
from openatac.study.gates.picture import draw_gates

SHOWN = {  # head of a column in the printed table -> column of the file
    'layer': 'layer', 'unit': 'unit', 'mean': 'mean', 'deviation': 'standard_deviation',
    'channels': 'between_channels', 'images': 'between_images', 'pixels': 'between_pixels',
    '< 0.1': 'share_below_0.1', '> 0.9': 'share_above_0.9', 'x > 0': 'relu_mask_mean',
    'correlation': 'relu_mask_correlation'}
# Images at a time: a ResNet-110 with ATAC takes 1 GB for so many, and ResNet-50 has 25 times as many pixels.
CIFAR_BATCH, IMAGENET_BATCH = 32, 8


def main(argv):
    """``openatac gates``; see the module."""
    p = argparse.ArgumentParser(prog='openatac gates', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('runs', metavar='RUN', nargs='+', help='folder of a run')
    p.add_argument('--out', metavar='PREFIX', type=prefix, required=True,
                   help='what the names of the files begin with')
    p.add_argument('--params', default='best', metavar='best|last|FILE',
                   help="the run's best or last parameters, or a file of them (default: %(default)s)")
    p.add_argument('--images', type=number(int, low=1, high=IMAGES), metavar='N',
                   help='look at N images, evenly spread over the test set (default: all)')
    p.add_argument('--dataset', choices=('cifar10', 'cifar100', 'digits'),
                   help="other images than the run's own, for runs of train_cifar.py")
    p.add_argument('--data-dir', help="where the images are (default: where the run had them)")
    args = p.parse_args(argv)
    with writing('--out: %s' % args.out, '; choose another'):  # tried before the work is done
        folder = os.path.dirname(os.path.abspath(args.out))
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    rows = [row for folder, name in zip(args.runs, _names(args.runs)) for row in _examine(folder, name, args)]
    with writing('--out: %s' % args.out, '; choose another'):
        write_csv(args.out + '.csv', list(rows[0]), map(_csv_row, rows))
        draw_gates(args.out + '.png', rows)
    return 0


def _names(folders):
    """The last parts of the folders' paths, or whole paths where those do not tell them apart."""
    names = [os.path.basename(os.path.abspath(folder)) for folder in folders]
    return names if len(set(names)) == len(names) else folders


# ------------------------------------------------------------------------------------ a run

def _examine(folder, name, args):
    """The rows of a run, which are printed too."""
    from openatac.models.parameters import load_parameters
    from openatac.study.gates.statistics import gate_statistics
    from openatac.training import session
    run = session.read_settings(folder)
    read = {'cifar': _cifar, 'imagenet': _imagenet}[session.data_family(run)]
    network, dataset, net, images = read(folder, run, args)
    path = os.path.join(folder, args.params + '.params') if args.params in ('best', 'last') else args.params
    load_parameters(net, path)
    try:
        rows = gate_statistics(net, images)
    except FloatingPointError as error:
        raise OpenatacError('%s is of a run that diverged (%s): train again with a smaller --lr'
                            % (path, error)) from None
    if not rows:
        raise OpenatacError('%s has no gates to look at, since no unit of %s multiplies its input by '
                            'anything: name runs of ATAC, SE or other gated units' % (folder, network))
    about = {'run': name, 'network': network, 'dataset': dataset, 'parameters': os.path.basename(path)}
    print(for_terminal(f'{name}: {network}, {about["parameters"]}, {rows[0]["images"]} images of {dataset}'))
    print(text_table([SHOWN, *([_cell(row[column]) for column in SHOWN.values()] for row in rows)]) + '\n',
          flush=True)
    return [{**about, **row} for row in rows]


def _cifar(folder, run, args):
    """(name, data set, network, batches of images, read when asked for) of a run of train_cifar.py."""
    from openatac.training import cifar_network, session
    with session.reading_network(folder):
        net, name = cifar_network.build_network(run), cifar_network.model_name(run)
        run.dataset, run.data_dir = args.dataset or run.dataset, args.data_dir or run.data_dir
    return name, run.dataset, net, _small_images(run, args.images)


def _small_images(run, count):
    from openatac.data.loader import EvaluationBatches
    from openatac.training.datasets import load
    test_set = load(run, train=False)
    chosen = _spread(len(test_set), count)
    test_set = dataclasses.replace(test_set, images=test_set.images[chosen], labels=test_set.labels[chosen])
    for images, _ in EvaluationBatches(test_set, CIFAR_BATCH):
        yield images


def _imagenet(folder, run, args):
    """The same of a run of train_imagenet.py."""
    from openatac.data.photos.transforms import EvaluationTransform
    from openatac.training import imagenet, imagenet_network, session
    if args.dataset:
        raise OpenatacError('--dataset %s has no images for %s, a run of train_imagenet.py: leave it '
                            'out' % (args.dataset, folder))
    with session.reading_network(folder):
        run.syncbn = False  # the same parameters, and one device needs no synchronisation
        EvaluationTransform(run.input_size, run.crop_ratio or imagenet.CROP_RATIO)
        net, name = imagenet_network.build_network(run), imagenet_network.model_name(run)
    if args.data_dir:
        run.data_dir, run.use_rec = args.data_dir, False
    return name, 'imagenet', net, _photos(run, args.images)


def _photos(run, count):
    from openatac.data.photos.batches import EvaluationPhotos
    from openatac.training import imagenet
    source = imagenet.open_source(run, 'val')
    source = _Chosen(source, _spread(len(source), count))
    for images, _ in EvaluationPhotos(source, run.input_size, IMAGENET_BATCH,
                                      run.crop_ratio or imagenet.CROP_RATIO, max_bad_share=run.max_bad_share):
        yield images


class _Chosen:
    """Those photographs of a source whose indices are ``chosen``."""

    def __init__(self, source, chosen):
        self._source, self._chosen = source, chosen

    def __len__(self):
        return len(self._chosen)

    def name(self, index):
        return self._source.name(self._chosen[index])

    def read(self, index):
        return self._source.read(self._chosen[index])


def _spread(total, count):
    """The indices of ``count`` of ``total`` images, evenly spread; of all, if there are not so many."""
    count = min(count or total, total)
    return [total * index // count for index in range(count)]


# ---------------------------------------------------------------------------------- numbers

def _cell(value):
    return '-' if value is None else value if isinstance(value, str) else '%.3f' % value


def _csv_row(row):
    return {column: '%.6f' % value if isinstance(value, float) else value for column, value in row.items()}
