"""Make the networks of openatac/pretrained/ from finished runs of a comparison.

    python benchmarks/pretrained_networks.py COMPARISON DATA_DIR COMMIT

For each unit and depth in the folder COMPARISON it takes the run with the smallest seed, since choosing the
best one would choose on the test images, stores the parameters of its last epoch in float16 and evaluates
those on the test images in DATA_DIR. COMMIT is the version that trained.
"""
import json
import os
import sys
import tempfile

from openatac.commands import train_cifar
from openatac.data.small.cifar_layouts import class_names
from openatac.files.checksums import file_sha256
from openatac.files.schema import read_json
from openatac.models.weights import read_arrays, write_arrays
from openatac.study.comparison.comparison import group_runs
from openatac.study.comparison.comparison_report import read_note
from openatac.study.comparison.copied_runs import without_paths
from openatac.study.finished_runs import find_runs
from openatac.training.run_folder import RunFolder
from openatac.zoo.weights.pretrained import CARD, FOLDER, WEIGHTS

NOT_FOR = ('Anything that matters: it is a small network, trained briefly on images of 32 x 32 pixels, and '
           'it gives any image one of its ten classes.')
PLACES = ('data_dir', 'save_dir', 'command', 'resume', 'recipe')  # settings that are not of the network


def main(comparison, data_dir, commit):
    note = read_note(comparison)
    for group in group_runs(find_runs(comparison)):
        run = group.runs[0]
        if run.config.network.channels is not None:  # for a comparison at equal cost
            continue
        folder = os.path.join(FOLDER, run.network)
        os.makedirs(folder, exist_ok=True)
        arrays = read_arrays(os.path.join(run.folder, 'last.params'))
        weights = os.path.join(folder, WEIGHTS)
        write_arrays(weights, {name: array.astype('float16') for name, array in arrays.items()})
        settings = read_json(RunFolder(run.folder).file('settings.json'), dict)
        write_json(os.path.join(folder, 'settings.json'),
                   {name: value for name, value in settings.items() if name not in PLACES})
        write_json(os.path.join(folder, CARD), {
            'network': run.network,
            'data': f'{run.summary["dataset"]} ({note}): {run.summary["training_images"]} images for '
                    f'training, {run.summary["test_images"]} for testing',
            'classes': class_names(run.summary['dataset']),
            'accuracy': accuracy_of(weights, data_dir),
            'test_images': run.summary['test_images'],
            'best_accuracy': run.summary['best_accuracy'],
            'accuracies': group.values('last_accuracy'),
            'command': without_paths(run.summary['command']),
            'epochs': run.summary['epochs'], 'seed': run.seed, 'date': run.date, 'commit': commit,
            'versions': run.summary['versions'], 'licence': 'Apache-2.0', 'not_for': NOT_FOR,
            'sha256': file_sha256(weights)})
        print(run.network)


def accuracy_of(weights, data_dir):
    """The accuracy of a parameter file on the test images, by the command."""
    with tempfile.TemporaryDirectory() as report:
        train_cifar.main(['--evaluate', weights, '--data-dir', data_dir, '--gpus', '', '--report', report])
        with open(os.path.join(report, 'report.json')) as file:
            return json.load(file)['accuracy']


def write_json(path, value):
    with open(path, 'w') as file:
        file.write(json.dumps(value, indent=1) + '\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
