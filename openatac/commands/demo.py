"""Show the main steps in a minute or two: train three units on handwritten digits, compare them, export one.

Trains ReLU, the global gate (SE as an activation) and ATAC with train-cifar, prints one table, draws the
curves, exports the ATAC network as symbol files and checks them against the network, and classifies a
photograph with a trained network from the package. The same command resumes an interrupted demo.
"""
from __future__ import annotations

import os

from openatac.commands.shared.catalogue import command_parser
from openatac.study import demo


def main(argv: list[str]) -> int:
    """Run ``openatac demo``; see the module."""
    p = command_parser('demo', __doc__)
    p.add_argument('--folder', default='demo', help='folder for all files (default: %(default)s)')
    folder = p.parse_args(argv).folder
    runs = {}
    for unit in demo.UNITS:
        print(f'training {unit}', flush=True)
        runs[unit] = demo.train(unit, os.path.join(folder, unit.replace(' ', '-').lower()))
    from openatac.data.small.digits import TEST_IMAGES, TRAINING_IMAGES
    print(f'\nscikit-learn digits, {TRAINING_IMAGES:,} training and {TEST_IMAGES} test images of 32x32; '
          'ResNet-8; seed 0\n')
    print(demo.units_table(runs))
    print('\nbest: of all epochs, chosen on the test images')
    figure = os.path.join(folder, 'curves.png')
    prefix = os.path.join(folder, 'export', 'atac')
    demo.draw(figure, runs)
    print(f'\ncurves: {figure}')
    difference = demo.export_last(runs['ATAC'], prefix)
    print(f'exported ATAC to {prefix}-symbol.json and the files beside it; loaded back, its outputs differ '
          f"from the network's by {difference:.1g} at most")
    answer = ', '.join(f'{label} {score:.2f}' for label, score, _ in demo.classify())
    print(f"{demo.TRAINED}, which comes trained, classifies scikit-learn's photograph of a flower as: "
          f'{answer} (it knows the ten classes of CIFAR-10, and flowers are not among them)')
    return 0
