"""openatac's input pipeline for ImageNet against MXNet's ImageRecordIter, on the same record file.

    python benchmarks/record_pipeline.py FOLDER        a folder of photographs, a subfolder per class

The photographs are packed as often as 4,000 records need. Both sides give batches of 128 as MXNet arrays,
with one worker process or decoding thread per core; every run is its own process, which may use these cores
only. (ImageRecordIter uses at most one decoding thread fewer than it sees cores, but at least one,
whatever it is told.) Ours and the baseline take turns; the figures are medians of the pairs. Writes
results/record_pipeline.csv and prints the table.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cifar_training import ROOT, row, write

BATCH, SIZE, RECORDS = 128, 224, 4000
WARM_UP, MEASURED = 4, 24  # batches
NORMALISED = dict(mean_r=123.68, mean_g=116.779, mean_b=103.939, std_r=58.393, std_g=57.12, std_b=57.375)
CROP = dict(shuffle=True, random_resized_crop=True, rand_mirror=True, min_random_area=0.08, max_random_area=1,
            min_aspect_ratio=3 / 4, max_aspect_ratio=4 / 3)
COLOURS = dict(brightness=0.4, saturation=0.4, contrast=0.4, pca_noise=0.1)
PIPELINES = {
    'training: crop, mirror, colours': {**CROP, **COLOURS},
    'training: crop, mirror': CROP,
    'evaluation': dict(resize=256),
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder')
    p.add_argument('--pairs', type=int, default=5, help='runs of each side (default: %(default)s)')
    p.add_argument('--output', default=str(ROOT / 'results' / 'record_pipeline.csv'))
    args = p.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rec = make_records(args.folder, folder)
        for cores in range(1, min(2, len(os.sched_getaffinity(0))) + 1):
            for pipeline in PIPELINES:
                sides = [(rate('ours', pipeline, cores, rec), rate('baseline', pipeline, cores, rec))
                         for _ in range(args.pairs)]
                name = f'{pipeline}, {cores} core{"" if cores == 1 else "s"}'
                rows.append(row(name, *zip(*sides), 'images/s', 'at least 1'))
    write(rows, args.output)


def make_records(images, folder):
    """The photographs packed again and again; the path of the record file."""
    from openatac.data.images.folder import ImageFolder
    from openatac.data.records.pack import pack
    few = len(list(Path(images).glob('*/*')))
    for copy in range(-(-RECORDS // few)):
        for place in Path(images).iterdir():
            target = Path(folder, 'images', f'{place.name}-{copy:02}')
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(place.resolve())
    pack(ImageFolder(os.path.join(folder, 'images')), os.path.join(folder, 'photographs'), workers=2)
    return os.path.join(folder, 'photographs.rec')


def rate(side, pipeline, cores, rec):
    """Images per second of one side, in its own process."""
    request = json.dumps([side, pipeline, cores, rec])
    answer = subprocess.run([sys.executable, __file__, '--measure', request], check=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(answer.stdout.splitlines()[-1])


# ------------------------------------------------------------------------ in its own process

def measure(side, pipeline, cores, rec):
    """Print the images per second from the batches after the warm-up."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    batches = (ours if side == 'ours' else baseline)(pipeline, cores, rec)
    for _ in range(WARM_UP):
        next(batches).wait_to_read()
    started = time.perf_counter()
    for _ in range(MEASURED):
        next(batches).wait_to_read()
    print(BATCH * MEASURED / (time.perf_counter() - started))


def ours(pipeline, cores, rec):
    """Our batches, fetched ahead as in the training loop, as MXNet arrays."""
    import openatac  # noqa: F401  (makes MXNet importable)
    import mxnet as mx  # isort: skip
    from openatac.data.photos.batches import EvaluationPhotoBatches, TrainingPhotoBatches
    from openatac.data.photos.transforms import Jitter
    from openatac.data.records.record_file import RecordFile
    from openatac.data.threads import prefetch
    source = RecordFile(rec, os.path.splitext(rec)[0] + '.idx')
    if pipeline == 'evaluation':
        photos = EvaluationPhotoBatches(source, SIZE, BATCH, 0.875, cores)
        batches = iter(photos)
    else:
        jitter = Jitter() if 'colours' in pipeline else Jitter(0, 0, 0, 0)
        photos = TrainingPhotoBatches(source, SIZE, BATCH, 0, cores, jitter=jitter)
        batches = photos.epoch(0)
    for images, _ in prefetch(batches):
        yield mx.nd.from_numpy(images)


def baseline(pipeline, cores, rec):
    """ImageRecordIter's batches."""
    import openatac  # noqa: F401  (makes MXNet importable)
    import mxnet as mx  # isort: skip
    for batch in mx.io.ImageRecordIter(
            path_imgrec=rec, path_imgidx=os.path.splitext(rec)[0] + '.idx', batch_size=BATCH,
            data_shape=(3, SIZE, SIZE), preprocess_threads=cores, **NORMALISED, **PIPELINES[pipeline]):
        yield batch.data[0]


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']:
        measure(*json.loads(sys.argv[2]))
    else:
        main()
