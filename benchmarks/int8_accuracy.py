"""What INT8 costs in accuracy: trained networks x kernels x calibration, on the test images of their runs.

    python benchmarks/int8_accuracy.py results/cifar10_40_epochs/runs/b1-atac-seed* --data-dir DATA

Exports the last epoch of each run by `openatac export --fuse --onnx --int8`. Kernels of an older processor
are those that MXNet takes by DNNL_MAX_CPU_ISA; ONNX Runtime does not obey it. Writes
results/int8_accuracy.csv and prints the table of docs/explanation/int8.md.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import openatac
from openatac.export.int8.calibration_methods import CALIBRATION_METHODS
from openatac.files.csv_file import read_csv, write_csv
from openatac.study.bench.machine import machine
from openatac.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
HEAD = ('form', 'kernels', 'calibration', 'float32', 'INT8', 'mean loss in points', 'largest loss', 'n')
OUTPUT = ROOT / 'results' / 'int8_accuracy.csv'
KERNELS = {'AVX-512 VNNI': None, 'AVX2': 'AVX2'}  # {name: DNNL_MAX_CPU_ISA}
FIELDS = ('run', 'form', 'kernels', 'calibration', 'images', 'float32', 'int8', 'device', 'versions',
          'command')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('runs', nargs='+', metavar='RUN')
    p.add_argument('--data-dir', required=True, help="the images of the runs' data set")
    args = p.parse_args()
    rows = [row for run in args.runs for kernels in KERNELS for calibration in CALIBRATION_METHODS
            for row in measure(Path(run), args.data_dir, kernels, calibration)]
    write_csv(OUTPUT, FIELDS, rows)
    print(table(read_csv(OUTPUT)))


def measure(run, data_dir, kernels, calibration):
    """Yield a row for each form of one export in INT8."""
    isa = {} if KERNELS[kernels] is None else {'DNNL_MAX_CPU_ISA': KERNELS[kernels]}
    flags = ['--fuse', '--onnx', '--int8', '--calibration', calibration, '--measure-images', '10000']
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, 'atac')
        subprocess.run([sys.executable, '-m', 'openatac', 'export', run, run / 'last.params', prefix, *flags,
                        '--data-dir', data_dir], check=True, env={**os.environ, **isa})
        reports = json.loads(Path(prefix + '.json').read_text())['reports']
    here = machine()
    for form, report in reports.items():
        is_onnx = form.startswith('onnx')
        if 'accuracy' not in report or (is_onnx and (isa or calibration != CALIBRATION_METHODS[0])):
            continue  # ONNX files have the same numbers with any kernels and calibration
        accuracy = report['accuracy']
        yield {'run': run.name, 'form': form, 'kernels': kernels,
               'calibration': 'extremes' if is_onnx else calibration,
               'images': accuracy['images'], 'float32': accuracy['float32'], 'int8': accuracy['int8'],
               'device': here['device'], 'versions': f'{here["versions"]}, openatac {openatac.__version__}',
               'command': ' '.join(['openatac export RUN RUN/last.params OUT', *flags])}


def table(rows):
    """Return the table of the page: means over the runs, and the largest loss, in points."""
    groups, lines = {}, []
    for row in rows:
        groups.setdefault((row['form'], row['kernels'], row['calibration']), []).append(row)
    for (form, kernels, calibration), several in sorted(groups.items()):
        before, after = ([100 * float(row[column]) for row in several] for column in ('float32', 'int8'))
        losses = [first - second for first, second in zip(before, after)]
        lines.append((form, kernels, calibration, f'{statistics.mean(before):.2f}%',
                      f'{statistics.mean(after):.2f}%', f'{statistics.mean(losses):.2f}',
                      f'{max(losses):.2f}', len(several)))
    return markdown_table(HEAD, lines)


if __name__ == '__main__':
    main()
