"""A trained network as files that other programs load.

    openatac export RUN OUT --fuse --onnx                     the best network of a run
    openatac export cifar_resnet20_v2_atac best.params OUT    a network's name and a file of its parameters
    openatac export RUN epoch-0100.params OUT                 a run's network with other parameters

RUN is the folder of a run of train_cifar.py or train_imagenet.py. Written are OUT-symbol.json and
OUT-0000.params, for Gluon's SymbolBlock.imports, mx.model.load_checkpoint and the Module API, and OUT.json,
which says what must be known to use them: classes, labels, input size, mean and deviation.

Each form is loaded back and compared with the network on random images and on real ones (--images, else
the run's test images if they are here); nothing is written, and an older export stays as it was, unless
all agree. What was found is printed and stands in OUT.json. For --int8 that is also the accuracy in float32
and in INT8 on labelled images (--measure, else the run's test images if they are here).
"""
import argparse
import logging
import os

from openatac.arguments import CLASSES, IMAGES, RATIO, SIDE, number
from openatac.console.text import for_terminal
from openatac.errors import DataError, OpenatacError
from openatac.files.reading import read_text
from openatac.files.writing import check_prefix
from openatac.runtime.processor import int8_line

COMPARED, CALIBRATED, MEASURED = 64, 256, 10000  # images
NETWORK = ('classes', 'dataset', 'r', 'act_layers', 'useGlobal', 'useReLU', 'reduction', 'use_gn')
DATASETS = ('cifar10', 'cifar100', 'cifar100-coarse', 'digits')
log = logging.getLogger('openatac')


def parser():
    p = argparse.ArgumentParser(
        prog='openatac export', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='openatac export [options] RUN OUT\n       openatac export [options] MODEL PARAMS OUT')
    p.add_argument('names', metavar='RUN | MODEL PARAMS, OUT', nargs='+',
                   help='what to export, and what the names of the files begin with')
    add_forms(p.add_argument_group('forms'))
    add_network(p.add_argument_group('network (a run knows its own)'))
    data = p.add_argument_group('images')
    data.add_argument('--images', metavar='FOLDER', help='compare on the images in FOLDER and below')
    data.add_argument('--calibrate', metavar='FOLDER',
                      help="images for --int8 (default: the run's training images)")
    data.add_argument('--measure', metavar='FOLDER',
                      help="labelled images for the accuracy of --int8, in a subfolder per class (default: "
                           "the run's test images)")
    data.add_argument('--measure-images', type=number(int, low=1, high=IMAGES), default=MEASURED, metavar='N',
                      help='how many of them at most, evenly spread (default: %(default)s)')
    data.add_argument('--data-dir', help='where the images of the run, or of --dataset, are')
    return p


def add_forms(group):
    group.add_argument('--fuse', action='store_true',
                       help="also OUT-fused-..., with oneDNN's fused operators, for CPUs")
    group.add_argument('--onnx', action='store_true', help='also OUT.onnx, for ONNX Runtime and others')
    group.add_argument('--int8', action='store_true',
                       help='also OUT-int8-..., quantized, for CPUs; with --onnx also OUT-int8.onnx')
    group.add_argument('--calibration', choices=('entropy', 'naive'), default='entropy',
                       help='how --int8 finds the ranges of values; OUT-int8.onnx has the extremes (default: '
                            '%(default)s)')
    group.add_argument('--precision', choices=('float32', 'float16'), default='float32',
                       help='of OUT-symbol.json and its parameters; float16 is for GPUs')
    group.add_argument('--labels', metavar='FILE|NAMES',
                       help='the names of the classes: a file, one a line, or with commas between')
    group.add_argument('--input-size', type=number(int, low=1, high=SIDE),
                       help="side of the input images (default: the run's, 32 for CIFAR networks, else 224)")


def add_network(group):
    group.add_argument('--classes', type=number(int, low=1, high=CLASSES),
                       help='(default: as many as PARAMS has)')
    group.add_argument('--dataset', choices=DATASETS,
                       help='what MODEL was trained on: for labels, images and calibration')
    group.add_argument('--r', type=RATIO, help='channel reduction ratio of ChaATAC')
    group.add_argument('--act-layers', type=number(int, low=0, high=4),
                       help='how many of the four slots or stages, from the back, get the unit')
    group.add_argument('--useGlobal', action=argparse.BooleanOptionalAction, help='pool globally in ChaATAC')
    group.add_argument('--useReLU', action=argparse.BooleanOptionalAction, help="ChaATAC's inner ReLU")
    group.add_argument('--reduction', type=RATIO, help='of the attention blocks that have one')
    group.add_argument('--use-gn', action='store_true', default=None,
                       help="GroupNorm in the host's place of BatchNorm")


def main(argv):
    """``openatac export``; see the module."""
    p = parser()
    args = p.parse_intermixed_args(argv)
    try:
        check(args)
        trained = find(args)
        labels = read_labels(args.labels, trained.description)
    except ValueError as error:
        p.error(str(error))
    trained = trained._replace(description=trained.description._replace(
        labels=labels, precision=args.precision))
    labelled, lines = find_labelled(trained, args.measure) if args.int8 else (None, [])
    if args.int8:
        print(int8_line())
    for line in export_trained(trained, args.names[-1], forms_of(args), args.images, args.calibrate,
                               args.calibration) + lines:
        print(for_terminal(line))
    if labelled:
        print(measure(trained, args.names[-1], labelled, args.measure_images))
    return 0


def export_run(folder, out):
    """Export the best network of the run in ``folder`` as symbol files, and log what was found."""
    from openatac.export.trained import of_run
    for line in export_trained(of_run(folder), out):
        log.info('%s', line)


def export_trained(trained, out, forms=('symbol',), images=None, calibrate=None, mode='entropy'):
    """Export a `Trained` network; returns what to tell of it, as lines.

    images, calibrate : folders to take images from, in the place of its own; the rest is for `bundle.export`.
    """
    from openatac.export.bundle import export
    real, lines = _real_images(trained, images)
    calibration = _calibration(trained, calibrate) if 'int8' in forms else ()
    description = export(trained.net, out, trained.description, forms, real, calibration, mode)
    return lines + table(description.reports) + [
        '%s: %s' % (form, report['note']) for form, report in description.reports.items() if 'note' in report
    ] + ['exported %s to %s.json and the files named like it' % (description.model, out)]


# ------------------------------------------------------------------------------ command line

def check(args):
    """Raise ValueError, in a sentence, for flags that do not go together."""
    if not 2 <= len(args.names) <= 3:
        raise ValueError('name RUN OUT or MODEL PARAMS OUT, not %d things' % len(args.names))
    out, is_run = args.names[-1], os.path.isdir(args.names[0])
    try:
        check_prefix(out, beside_folder=False)
    except ValueError as error:
        raise ValueError(f'OUT: {error}') from None
    if len(args.names) == 2 and not is_run:
        raise ValueError('RUN: there is no folder %r; of a network by its name give MODEL PARAMS OUT'
                         % args.names[0])
    for flag in NETWORK:
        if is_run and getattr(args, flag) is not None:
            raise ValueError('argument --%s: the run in %s knows it; leave it out'
                             % (flag.replace('_', '-'), args.names[0]))
    if args.precision == 'float16' and (args.fuse or args.int8):
        raise ValueError('argument --precision: float16 is for GPUs, and --fuse and --int8 are for CPUs; '
                         'export twice, with another OUT')
    if args.int8 and not (is_run or args.calibrate or args.dataset):
        raise ValueError('argument --int8: --calibrate must name a folder of images like those of the '
                         'training')
    if args.measure and not args.int8:
        raise ValueError('argument --measure: it is for --int8, whose accuracy it measures; add --int8')


def find(args):
    """The `Trained` network of the command line; ValueError for a wrong name or setting."""
    from openatac.runtime.import_hook import require_mxnet
    require_mxnet()
    from openatac.export.trained import of_model, of_run
    name, params = args.names[0], args.names[1] if len(args.names) == 3 else None
    if os.path.isdir(name):
        return of_run(name, params, args.input_size, args.data_dir)
    settings = {flag: getattr(args, flag) for flag in NETWORK if getattr(args, flag) is not None}
    return of_model(name, params, size=args.input_size, data_dir=args.data_dir, **settings)


def forms_of(args):
    """The forms that the flags ask for."""
    return ['symbol'] + [form for form, asked in (
        ('fused', args.fuse), ('int8', args.int8), ('onnx', args.onnx),
        ('onnx-int8', args.onnx and args.int8)) if asked]


def read_labels(labels, description):
    """The names of the classes by --labels, else the description's; ValueError for a wrong number of them."""
    names = description.labels
    if labels is not None and os.path.isfile(labels):
        try:
            lines = read_text(labels, errors='replace').splitlines()
        except OSError as error:
            raise ValueError('argument --labels: %s: %s' % (labels, error.strerror)) from None
        names = [line.strip() for line in lines if line.strip()]
    elif labels is not None:
        names = [name.strip() for name in labels.split(',')]
    if len(names) not in (0, description.classes):
        raise ValueError('argument --%s: %d names, beginning with %r, for a network of %d classes'
                         % ('labels' if labels else 'dataset', len(names), names[0], description.classes))
    return names


# ------------------------------------------------------------------------------------ images

def _real_images(trained, folder):
    """(inputs made of real images or None, lines that tell if there are none)."""
    from openatac.export.labelled import inputs, of_images
    if folder is not None:
        return inputs(of_images(folder), trained.description, COMPARED), []
    try:
        return inputs(trained.images(train=False), trained.description, COMPARED), []
    except DataError as error:
        return None, ['compared on random images only, since %s; --images names real ones' % error]


def _calibration(trained, folder):
    """The batches of inputs on which INT8 finds its ranges."""
    from openatac.export.labelled import inputs, of_images
    try:
        images = of_images(folder) if folder else trained.images(train=True)
        calibrating = inputs(images, trained.description, CALIBRATED)
    except DataError as error:
        raise OpenatacError('--int8 needs images: %s; name a folder of them by --calibrate' % error) from None
    return [calibrating[start:start + 32] for start in range(0, len(calibrating), 32)]


# ---------------------------------------------------------------------------------- accuracy

def find_labelled(trained, folder):
    """(`Labelled` images of ``folder``, else its test images or None, lines that tell why none)."""
    from openatac.export.labelled import of_classes
    if folder:
        return of_classes(folder, trained.description), []
    try:
        return trained.images(train=False), []
    except DataError as error:
        return None, ["INT8's accuracy was not measured, since %s; --measure names labelled images" % error]


def measure(trained, out, labelled, count):
    """Measure the accuracy before and after INT8 and add it to OUT.json; returns the line that tells it."""
    import mxnet as mx

    from openatac.export.labelled import batches
    from openatac.export.manifest import INT8_FORMS, read_description, write_description
    from openatac.export.quantize import accuracies
    from openatac.export.runtimes import engine_of, open_engine
    from openatac.files.writing import replace_file
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

def table(reports):
    """Lines that show the figures of {form: report}."""
    row = '%-9s %8s %15s %14s %11s %12s'
    lines = [row % ('form', 'MB', 'max difference', 'top-1 agreement', 'ms, 1 image', 'ms, 16 images')]
    for form, report in reports.items():
        lines.append(row % (form, '%.2f' % (report['bytes'] / 1e6), '%.2g' % report['max_difference'],
                            '%.3f' % report['top1_agreement'], '%.1f' % report['milliseconds']['1'],
                            '%.1f' % report['milliseconds']['16']))
    some = next(iter(reports.values()))
    fused = reports.get('fused')
    return lines + ['compared on %(random_images)d random and %(real_images)d real images, outputs up to '
                    '%(largest_output).3g; agreement on the %(kind)s ones' % dict(
                        some, kind='real' if some['real_images'] else 'random')] + (
        ['fused: %d operators became %d, %d BatchNorms %d' % (*fused['operators'], *fused['batch_norms'])]
        if fused else [])
