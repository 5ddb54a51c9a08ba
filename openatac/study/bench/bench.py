"""How fast exported networks are in each engine that can run them here.

    openatac bench exports/atac --batch-sizes 1,64 --out results/atac
    openatac bench exports/atac exports/relu exports/se --engines static,fused,torch-compiled --rounds 5

EXPORT is what the names of an export's files begin with. Each engine has a process of its own for each
export, since the threads of two of them in one process disturb each other. All are warm before anything
is measured: networks compiled, memory taken. Then they take turns, round by round, one batch for --seconds
at a time, so that what else the machine does meets all alike. Latency is the time from images to outputs,
NumPy arrays both; of each figure the table has the median over the rounds and their range. PREFIX.csv and
PREFIX.png, named by --out, have it as a file and as a picture.
"""
import argparse
import os
import platform
import shlex
import statistics
from importlib import metadata

from openatac.arguments import COUNT, SECONDS, number, prefix
from openatac.console.text import text_table
from openatac.errors import OpenatacError
from openatac.export.forms.base import prefix_of
from openatac.export.manifest import read_manifest
from openatac.export.runtimes.base import RUNTIMES
from openatac.files.csv_file import write_csv
from openatac.files.writing import writing
from openatac.runtime.processor import int8_line
from openatac.runtime.threads import thread_count
from openatac.study.bench.picture import draw_bench
from openatac.study.bench.process import BenchProcess

MOST_SIZES = 8  # torch.compile takes no more for one network
FIGURES = {'p50_ms': '%.2f', 'p95_ms': '%.2f', 'images_per_second': '%.1f'}
HEAD = ('export', 'engine', 'batch', 'p50 ms', 'p95 ms', 'images/s', 'rounds', 'difference')
PACKAGES = ('mxnet', 'onnxruntime', 'openvino', 'torch', 'numpy')


def main(argv):
    """``openatac bench``; see the module."""
    p = argparse.ArgumentParser(prog='openatac bench', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('exports', metavar='EXPORT', nargs='+', help='an export')
    p.add_argument('--batch-sizes', type=_sizes, default=[1, 64], metavar='B,B,...',
                   help='images in a batch (default: 1,64)')
    p.add_argument('--engines', type=_names, metavar='NAME,...',
                   help='of %s (default: all that can run an export here)' % ', '.join(RUNTIMES))
    p.add_argument('--rounds', type=number(int, low=1, high=COUNT), default=5, metavar='N',
                   help='(default: %(default)s)')
    p.add_argument('--seconds', type=number(float, above=0, high=SECONDS), default=2.0, metavar='S',
                   help='that a turn takes at least (default: %(default)s)')
    p.add_argument('--out', metavar='PREFIX', type=prefix, help='write PREFIX.csv and PREFIX.png')
    args = p.parse_args(argv)
    prefixes = [prefix_of(path) for path in args.exports]
    if len(set(prefixes)) < len(prefixes):
        p.error('argument EXPORT: %s is named twice' % max(prefixes, key=prefixes.count))
    _check_out(args.out)
    measured = measure(prefixes, args.engines, args.batch_sizes, args.rounds, args.seconds)
    if any(RUNTIMES.find(engine).form.is_quantized for _, engine, _ in measured):
        print(int8_line())
    rows = [_row(export, engine, size, turns, difference)
            for (export, engine, size), (turns, difference) in measured.items()]
    print(text_table([HEAD, *map(_cells, rows)]))
    print('\n'.join(['', *(line for export in dict.fromkeys(row['export'] for row in rows)
                           for size in args.batch_sizes for line in verdict(rows, measured, export, size))]))
    if args.out:
        about = dict(machine(), command='openatac bench ' + shlex.join(argv))
        with writing('--out: %s' % args.out, ': choose another'):
            write_csv(args.out + '.csv', [*rows[0], *about], [_csv_row({**row, **about}) for row in rows])
            draw_bench(args.out + '.png', rows, '%s, %s threads' % (about['device'], about['threads']))
    return 0


def _sizes(text):
    parse = number(int, low=1, high=2 ** 16)
    sizes = [parse(part) for part in text.split(',')]
    if len(set(sizes)) < len(sizes) or len(sizes) > MOST_SIZES:
        raise argparse.ArgumentTypeError('%r must name each size once, and at most %d' % (text, MOST_SIZES))
    return sizes


def _names(text):
    names = text.split(',')
    unknown = [name for name in names if name not in RUNTIMES]
    if unknown or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError('%r must name each engine once, of %s' % (text, ', '.join(RUNTIMES)))
    return names


# ------------------------------------------------------------------------------- measurement

def measure(prefixes, engines, sizes, rounds, seconds):
    """{(export, engine, batch size): ([Turn of each round], difference)}; exports by their last names.

    engines : names, or None for all that can run an export, of which those that fail are left out and named.
    Raises OpenatacError for named ones that can't, if none can, and if a process dies.
    """
    processes, measured = {}, {}
    try:
        for export, prefix in zip(_short_names(prefixes), prefixes):
            processes.update({(export, engine): process
                              for engine, process in _warm_processes(prefix, engines, sizes)})
        expected = {}
        for (export, engine), process in processes.items():
            reference = expected.setdefault(export, process.outputs)
            difference = float(abs(process.outputs - reference).max() / max(abs(reference).max(), 1e-30))
            measured.update({(export, engine, size): ([], difference) for size in sizes})
        for _ in range(rounds):
            for size in sizes:
                for key, process in processes.items():
                    measured[(*key, size)][0].append(process.turn(size, seconds))
    finally:
        for process in processes.values():
            process.close()
    return measured


def _warm_processes(prefix, engines, sizes):
    """Yield (engine, BenchProcess) of an export."""
    read_manifest(prefix)
    able = 0
    for name in engines or RUNTIMES:
        problem = RUNTIMES.find(name).obstacle(prefix)
        if not problem:
            process = BenchProcess(prefix, name, sizes)
            problem = process.problem
        if not problem:
            able += 1
            yield name, process
        elif engines:
            raise OpenatacError('%s cannot be measured in the engine %s: %s' % (prefix, name, problem))
        else:
            print('left out %s of %s: %s' % (name, prefix, problem), flush=True)
    if not able:
        raise OpenatacError('no engine can run %s here' % prefix)


def _short_names(prefixes):
    """The last parts of the paths, or whole paths where those do not tell them apart."""
    names = [os.path.basename(prefix) for prefix in prefixes]
    return names if len(set(names)) == len(names) else prefixes


# ----------------------------------------------------------------------------------- results

def _row(export, engine, size, turns, difference):
    """A line of the file: medians over the rounds, and their ranges."""
    row = {'export': export, 'engine': engine, 'batch': size}
    for figure in FIGURES:
        values = [getattr(turn, figure) for turn in turns]
        row.update({figure: statistics.median(values), figure + '_low': min(values),
                    figure + '_high': max(values)})
    return {**row, 'rounds': len(turns), 'batches': sum(turn.batches for turn in turns),
            'difference': difference}


def _cells(row):
    """A row of the printed table."""
    spread = ['%s (%s to %s)' % tuple(form % row[figure + end] for end in ('', '_low', '_high'))
              for figure, form in FIGURES.items()]
    return [row['export'], row['engine'], str(row['batch']), *spread, str(row['rounds']),
            '%.1e' % row['difference']]


def verdict(rows, measured, export, size):
    """Lines that tell the fastest engine, and how the fastest of ours stand beside the fastest of PyTorch."""
    speed = {row['engine']: row['images_per_second'] for row in rows
             if (row['export'], row['batch']) == (export, size)}
    pytorch = [name for name in speed if name.startswith('torch')]
    lines = ['%s, batch %d: the fastest is %s' % (export, size, max(speed, key=speed.get))]
    theirs = max(pytorch, key=speed.get, default=None)
    told = None
    int8 = [name for name in speed if RUNTIMES.find(name).form.is_quantized]
    onnx = [name for name in speed if RUNTIMES.find(name).form.name == 'onnx']
    for kind, others in (('ours', []), ('ours in float32', int8), ('MXNet in float32', int8 + onnx)):
        best = max((name for name in speed if name not in pytorch + others), key=speed.get, default=None)
        if theirs and best not in (None, told):
            lines.append('  the fastest of %s, %s, is %s times as fast as the fastest of PyTorch, %s' % (
                kind, best, _ratio(measured, (export, best, size), (export, theirs, size)), theirs))
        told = best
    return lines


def _ratio(measured, one, other):
    """The median over the rounds of the ratio of two speeds, with its range."""
    ratios = [mine.images_per_second / its.images_per_second
              for mine, its in zip(measured[one][0], measured[other][0])]
    return '%.2f (%.2f to %.2f)' % (statistics.median(ratios), min(ratios), max(ratios))


def machine():
    """What was measured on, as columns of the file."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append('%s %s' % (package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            pass
    return {'device': _processor(), 'threads': thread_count()[0],
            'versions': ', '.join(['Python ' + platform.python_version(), *versions])}


def _processor():
    try:
        with open('/proc/cpuinfo') as handle:
            return next(line.split(':')[1].strip() for line in handle if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.machine()


# ------------------------------------------------------------------------------------- files

def _check_out(out):
    """Raise OpenatacError, before the work is done, if there is no place for the files."""
    folder = os.path.dirname(os.path.abspath(out or ''))
    if out and not os.access(folder, os.W_OK):
        raise OpenatacError('--out: %s cannot be written: name a folder that is there, and what the names of '
                            'the files shall begin with' % out)


def _csv_row(row):
    return {column: '%.6g' % value if isinstance(value, float) else value for column, value in row.items()}
