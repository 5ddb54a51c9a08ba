"""The main job in a few minutes: three units trained on handwritten digits, compared and exported.

Trains ReLU, the global gate (SE as an activation) and ATAC by train_cifar.py itself, prints one
table, draws the curves and exports the ATAC network as symbol files, proven equal.
"""
import argparse
import os
import shutil
import subprocess

from openatac.console.text import text_table
from openatac.errors import OpenatacError
from openatac.study.comparison.run_queue import TRAIN_CIFAR
from openatac.training.run_folder import RunFolder
from openatac.training.tracking.curves import draw_curves

UNITS = {  # name -> flags of train_cifar.py
    'ReLU': ['--act-type', 'relu'],
    'global gate': ['--act-type', 'ChaATAC', '--useGlobal'],
    'ATAC': ['--act-type', 'ChaATAC'],
}
IMAGE_SHAPE = (3, 32, 32)


def main(argv):
    """``openatac demo``: train, compare and export; an interrupted demo goes on where it was."""
    parser = argparse.ArgumentParser(prog='openatac demo', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', default='demo', help='where all goes (default: %(default)s)')
    folder = parser.parse_args(argv).folder
    runs = {unit: _train(unit, flags, os.path.join(folder, unit.replace(' ', '-').lower()))
            for unit, flags in UNITS.items()}
    print('\nscikit-learn digits, 1,437 training and 360 test images of 32x32; ResNet-8; seed 0\n')
    print(table(runs))
    picture = os.path.join(folder, 'curves.png')
    draw_curves(picture, 'ResNet-8 on handwritten digits', {
        label: {unit: run['history'][key] for unit, run in runs.items()}
        for label, key in (('training loss', 'train_loss'), ('test accuracy', 'val_accuracy'))})
    print('\ncurves: %s' % picture)
    _export(runs['ATAC'], os.path.join(folder, 'export', 'atac'))
    return 0


def _train(unit, flags, folder):
    """Run train_cifar.py; returns its summary with the history, the network and its costs added."""
    if os.path.exists(os.path.join(folder, 'summary.json')):
        shutil.rmtree(folder)  # of an earlier demo, which ran to its end
    print('training %s' % unit, flush=True)
    command = [*TRAIN_CIFAR, '--recipe', 'digits', *flags,
               '--save-dir', folder, '--resume', 'auto']
    if subprocess.run(command).returncode:
        raise OpenatacError('the demo ends here, since training %s failed (see above)' % unit)
    return _read(folder)


def _read(folder):
    from openatac.models.parameters import load_parameters
    from openatac.models.zoo import get_model
    from openatac.study.costs.count import costs
    run = RunFolder(folder).summary()
    run['history'] = RunFolder(folder).history()
    gate = {'useGlobal': run['useGlobal']} if run['act_type'] == 'ChaATAC' else {}
    run['net'] = get_model(run['model'], classes=10, **gate)
    load_parameters(run['net'], os.path.join(folder, 'last.params'))
    run['costs'] = costs(run['net'], IMAGE_SHAPE)
    return run


def table(runs):
    """The table that compares {unit: run} as text."""
    rows = [('unit', 'parameters', 'multiply-adds', 'best test acc.', 'last test acc.', 'images/s')]
    for unit, run in runs.items():
        rows.append((unit, '{:,}'.format(run['costs'].trainable), '{:,}'.format(run['costs'].multiply_adds),
                     '%.4f' % run['best_accuracy'], '%.4f' % run['last_accuracy'],
                     '%.0f' % run['images_per_second']))
    return text_table(rows)


def _export(run, path):
    from openatac.export.symbol_files import export_symbol
    difference = export_symbol(run['net'], path, IMAGE_SHAPE)
    print('exported ATAC to %s-symbol.json and %s-0000.params; loaded back, its outputs differ from the '
          "network's by %.1g at most" % (path, path, difference))
