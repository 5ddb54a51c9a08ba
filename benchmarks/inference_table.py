"""Print the table of inference speeds in docs/reference/speed.md from results/inference."""
from pathlib import Path

from openatac.files.csv_file import read_csv
from openatac.text import markdown_table

RESULTS = Path(__file__).resolve().parent.parent / 'results' / 'inference'
NETWORKS = {f'{host}_{unit}': f'{name} {words}'
            for host, name in (('cifar_b3', 'ResNet-20'), ('resnet50', 'ResNet-50'))
            for unit, words in (('relu', 'ReLU'), ('se', 'SE'), ('atac', 'ATAC'))}
OURS = {'static': 'MXNet static', 'fused': 'fused', 'int8': 'INT8', 'onnxruntime': 'ONNX Runtime'}
HEAD = ('network', 'batch', *OURS.values(), 'PyTorch')


def main():
    """The table as text."""
    speeds = {}
    for path in RESULTS.glob('*.csv'):
        for row in read_csv(path):
            place = speeds.setdefault((row['export'], row['batch']), {})
            engine = 'torch' if row['engine'].startswith('torch') else row['engine']
            place[engine] = max(place.get(engine, 0), float(row['images_per_second']))
    rows = []
    for network, name in NETWORKS.items():
        for batch in ('1', '64'):
            found = speeds[network, batch]
            rows.append((name, batch, *(shown(found[engine]) for engine in (*OURS, 'torch'))))
    return markdown_table(HEAD, rows)


def shown(speed):
    """A speed with three digits, or all digits of a larger one."""
    return f'{speed:,.0f}' if speed >= 100 else f'{speed:.1f}'


if __name__ == '__main__':
    print(main())
