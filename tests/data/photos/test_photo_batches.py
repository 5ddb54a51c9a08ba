"""Batches of photographs: their order, their division among processes, and the worker processes."""
import contextlib
import gc
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from openatac.data.batch_sizes import ProcessShare
from openatac.data.images.bad_images import MAX_NAMED_IMAGES, BadImages
from openatac.data.images.folder import ImageFolder
from openatac.data.photos.batches import EvaluationPhotoBatches, TrainingPhotoBatches, first_iteration
from openatac.data.photos.transforms import MEAN_0_TO_255, STD_0_TO_255, Jitter
from openatac.data.records.record_file import RecordFile
from openatac.data.records.recordio import IMAGE, pack_record
from openatac.data.threads import prefetch
from openatac.errors import DataError
from tests.helpers.images.listed_batches import listed
from tests.helpers.images.made_up_images import encoded, plain
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.fresh_python import run_python

COUNT, BATCH, SIZE = 37, 8, 16


def png(grey, size=(24, 20)):
    return encoded(plain(grey, *size[::-1]), 'PNG')


def write(path, images, labels=None):
    """Write a record file of encoded images without an index, image i with label i."""
    with open(path, 'wb') as handle:
        for index, (image, label) in enumerate(zip(images, labels or range(len(images)))):
            handle.write(pack_record(IMAGE.pack(0, label, index, 0) + image))
    return RecordFile(str(path))


@pytest.fixture
def source(tmp_path):
    """A record file whose image i is plain grey 5 * i and has label i."""
    return write(tmp_path / 'x.rec', [png(5 * index) for index in range(COUNT)])


def training(source, **options):
    return TrainingPhotoBatches(source, SIZE, **{'batch_size': BATCH, 'seed': 1, 'workers': 0, **options})


def evaluation(source, **options):
    return EvaluationPhotoBatches(source, SIZE, **{'batch_size': BATCH, 'crop_ratio': 0.875, **options})


def labels_of(batches):
    return [int(label) for _, labels in batches for label in labels]


# ------------------------------------------------------------------------------------ order

def test_epochs_have_the_lengths_of_image_record_iter(source):
    photos = training(source)
    counts = [photos.batches_in(epoch) for epoch in range(9)]
    for epoch, count in enumerate(counts):
        assert len(list(photos.epoch(epoch))) == count
    starts = [first_iteration(epoch, COUNT, BATCH) for epoch in range(10)]
    assert counts == np.diff(starts).tolist() and set(counts) == {4, 5}
    assert [starts[epoch] * BATCH >= epoch * COUNT > (starts[epoch] - 1) * BATCH for epoch in range(10)]


def test_every_image_appears_once_before_any_repeats(source):
    photos = training(source)
    seen = [label for epoch in range(8) for label in labels_of(photos.epoch(epoch))]
    rounds = [seen[start:start + COUNT] for start in range(0, len(seen) - COUNT + 1, COUNT)]
    assert len(rounds) == 8 and all(sorted(each) == list(range(COUNT)) for each in rounds)
    assert len({tuple(each) for each in rounds}) == 8


def test_batch_shapes_types_and_values(source):
    photos = training(source, jitter=Jitter(0, 0, 0, 0))
    for images, labels in photos.epoch(0):
        assert images.shape == (BATCH, 3, SIZE, SIZE) and labels.shape == (BATCH,)
        assert images.dtype == labels.dtype == np.float32
        greys = (images * STD_0_TO_255 + MEAN_0_TO_255)[:, :, 3, 5]
        np.testing.assert_allclose(greys, np.repeat(5 * labels, 3).reshape(-1, 3), atol=1e-3)


@pytest.mark.parametrize('workers', [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(source, workers):
    alone = training(source)
    photos = training(source, workers=workers)
    for epoch in (0, 1):
        assert listed(photos.epoch(epoch)) == listed(alone.epoch(epoch))
    alone = evaluation(source)
    photos = evaluation(source, workers=workers)
    assert listed(photos) == listed(alone) == listed(photos)


def test_epoch_can_begin_at_any_batch(source):
    photos = training(source)
    whole = [listed(photos.epoch(epoch)) for epoch in range(3)]
    for epoch, batches in enumerate(whole):
        for start in range(len(batches) + 1):
            photos = training(source)  # as in a new process without the earlier epochs
            assert listed(photos.epoch(epoch, start)) == batches[start:]


def test_order_depends_on_the_seed(source):
    one = training(source)
    same = training(source)
    other = training(source, seed=2)
    assert listed(one.epoch(0)) == listed(same.epoch(0)) != listed(other.epoch(0))


def test_augmentation_depends_only_on_seed_epoch_and_index(tmp_path):
    random = np.random.RandomState(0)
    files = [encoded(random.randint(0, 256, (30, 40, 3), np.uint8), 'PNG') for _ in range(COUNT)]
    source = write(tmp_path / 'y.rec', files)

    def first_epoch(batch_size):
        photos = training(source, batch_size=batch_size)
        pairs = [pair for images, labels in listed(photos.epoch(0)) for pair in zip(labels, images)]
        return dict(pairs[:COUNT])

    assert first_epoch(4) == first_epoch(COUNT)


# ----------------------------------------------------------------- division among processes

@pytest.mark.parametrize('processes', [2, 4])
def test_processes_divide_every_batch(source, processes):
    whole = training(source)
    shares = [training(source, share=ProcessShare(k, processes)) for k in range(processes)]
    for epoch in range(3):
        together = list(zip(*(share.epoch(epoch) for share in shares)))
        assert len(together) == whole.batches_in(epoch) == shares[0].batches_in(epoch)
        joined = [(np.concatenate([images for images, _ in batch]).tolist(),
                   np.concatenate([labels for _, labels in batch]).tolist()) for batch in together]
        assert joined == listed(whole.epoch(epoch))


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_evaluation_gives_each_image_once_over_all_processes(source, processes):
    seen = []
    for rank in range(processes):
        photos = evaluation(source, share=ProcessShare(rank, processes))
        batches = list(photos)
        assert len(batches) == len(photos)
        assert all(len(labels) == BATCH // processes for _, labels in batches[:-1])
        seen += labels_of(batches)
    assert seen == list(range(COUNT))


def test_impossible_batch_settings_are_refused(source):
    with pytest.raises(DataError, match=r'\b8 .*\b3\b'):
        TrainingPhotoBatches(source, SIZE, BATCH, 0, 0, ProcessShare(0, 3))
    with pytest.raises(DataError, match=r'\b37 .*\b38\b.*--batch-size'):
        TrainingPhotoBatches(source, SIZE, COUNT + 1, 0, 0)


# ------------------------------------------------------------------------------- bad images

@pytest.fixture
def damaged(tmp_path):
    """A record file in which images 4, 5 and 36, the last, are damaged."""
    images = [png(5 * index) for index in range(COUNT)]
    images[4], images[5], images[36] = b'text', images[5][:50], b'\xff\xd8\xff'
    return write(tmp_path / 'z.rec', images)


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_image_is_replaced_by_the_next_good_one(damaged, workers, caplog):
    photos = training(damaged, workers=workers, max_bad_share=0.1)
    labels = labels_of(itertools.chain(photos.epoch(0), photos.epoch(1)))
    again = labels_of(itertools.chain(photos.epoch(0), photos.epoch(1)))
    assert photos.bad.count == 3
    stream = [index for epoch in range(3) for index in np.random.RandomState([1, epoch]).permutation(COUNT)]
    instead = {4: 6, 5: 6, 36: 0}
    assert labels == again == [instead.get(index, index) for index in stream][:len(labels)]
    messages = sorted(record.getMessage() for record in caplog.records)
    assert len(messages) == 3 and 'z.rec, record 4' in messages[1]


@pytest.mark.parametrize('workers', [0, 2])
def test_evaluation_skips_bad_images(damaged, workers):
    photos = evaluation(damaged, workers=workers, max_bad_share=0.1)
    for _ in range(2):
        assert labels_of(photos) == [index for index in range(COUNT) if index not in (4, 5, 36)]
    assert photos.bad.count == 3


@pytest.mark.parametrize('workers', [0, 2])
def test_too_many_bad_images_are_an_error(damaged, workers):
    photos = training(damaged, workers=workers)
    with pytest.raises(DataError, match='2 of 37 .*1%'):
        list(photos.epoch(0))
    photos = evaluation(damaged, workers=workers, max_bad_share=0)
    with pytest.raises(DataError, match='1 of 37 .*0%'):
        list(photos)


def test_data_set_without_a_good_image_is_an_error(tmp_path):
    for count in (1, 2, 9):
        source = write(tmp_path / 'none.rec', [b'text'] * count)
        for photos in (training(source, batch_size=1), evaluation(source, batch_size=2)):
            with pytest.raises(DataError, match='none.rec'):
                list(photos.epoch(0) if isinstance(photos, TrainingPhotoBatches) else photos)


def test_only_the_first_bad_images_are_named(source, caplog):
    bad = BadImages(source, max_share=1)
    bad.add([(index % 30, 'broken') for index in range(90)])
    assert bad.count == 30 and len(caplog.records) == MAX_NAMED_IMAGES + 1


@pytest.mark.parametrize('workers', [0, 2])
def test_unknown_label_is_an_error(tmp_path, workers):
    write(tmp_path / 'x.rec', [png(0)] * COUNT, [0] * 20 + [5] + [0] * 16)
    source = RecordFile(str(tmp_path / 'x.rec'), classes=5)
    photos = training(source, workers=workers)
    with pytest.raises(DataError, match=r'record 20 .*label 5\b.*0 to 4'):
        list(photos.epoch(0))
    photos = evaluation(source, workers=workers)
    with pytest.raises(DataError, match='label 5'):
        list(photos)


def test_folder_and_record_file_give_the_same_batches(tmp_path):
    for index in range(6):
        (tmp_path / str(index)).mkdir()
        (tmp_path / str(index) / 'x.png').write_bytes(png(5 * index))
    photos = training(ImageFolder(str(tmp_path)), batch_size=3, workers=1)
    assert sorted(labels_of(photos.epoch(0))) == list(range(6))


# -------------------------------------------------------------------------------- processes

def children(pid):
    """Return the running child processes of a process."""
    found = []
    for name in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError), open(f'/proc/{name}/stat') as handle:
            state, parent = handle.read().rpartition(')')[2].split()[:2]
            if int(parent) == pid and state != 'Z':
                found.append(int(name))
    return found


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.01)


def test_killed_worker_is_named(source):
    before = set(children(os.getpid()))
    photos = training(source, workers=2)
    batches = photos.epoch(0)
    next(batches)
    victim = (set(children(os.getpid())) - before).pop()
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(DataError, match=f'{victim}.*SIGKILL'):
        list(batches)
    assert set(children(os.getpid())) <= before
    assert len(list(photos.epoch(0))) == photos.batches_in(0)  # with new ones


@pytest.mark.parametrize('failing', [0, 1])
def test_worker_that_dies_at_start_ends_the_others_and_can_be_restarted(source, monkeypatch, failing):
    before, started = set(children(os.getpid())), []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            if len(started) == failing + 1:
                self.kill()
                self.wait()

    photos = training(source, workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, 'Popen', Popen)
        with pytest.raises(DataError, match='SIGKILL'):
            list(photos.epoch(0))
    assert set(children(os.getpid())) <= before
    assert len(list(photos.epoch(0))) == photos.batches_in(0)
    del photos
    gc.collect()
    wait_for(lambda: set(children(os.getpid())) <= before)


def test_process_limit_is_reported_as_one_error(source, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(11, 'Resource temporarily unavailable')

    photos = training(source, workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, 'Popen', refuse)
        with pytest.raises(DataError, match='-j'):
            list(photos.epoch(0))
    assert len(list(photos.epoch(0))) == photos.batches_in(0)


def test_workers_stay_over_epochs_and_end_when_no_longer_needed(source):
    before = set(children(os.getpid()))
    photos = training(source, workers=2)
    assert set(children(os.getpid())) == before  # workers start only when needed
    list(photos.epoch(0))
    workers = set(children(os.getpid())) - before
    list(photos.epoch(1))
    assert len(workers) == 2 and set(children(os.getpid())) - before == workers
    del photos
    gc.collect()
    wait_for(lambda: set(children(os.getpid())) <= before)


def test_batches_are_independent_copies(source):
    photos = training(source, workers=2)
    batches = list(photos.epoch(0))  # all are kept while later ones are made
    assert listed(batches) == listed(photos.epoch(0))


def test_leaving_an_epoch_early_does_not_change_the_next(source):
    photos = training(source, workers=2)
    whole = listed(photos.epoch(1))
    for _ in range(3):
        ahead = prefetch(photos.epoch(0))
        next(ahead)
        ahead.close()
    left = photos.epoch(0)
    next(left)
    assert listed(photos.epoch(1)) == whole
    with pytest.raises(RuntimeError):
        next(left)


def test_more_workers_than_images_per_batch_are_accepted(source):
    photos = training(source, batch_size=2, workers=5)
    alone = training(source, batch_size=2)
    assert listed(photos.epoch(0)) == listed(alone.epoch(0))


READER = '''
import sys, time
from openatac.data.photos.batches import TrainingPhotoBatches
from openatac.data.records.record_file import RecordFile
photos = TrainingPhotoBatches(RecordFile(sys.argv[1]), 64, 8, 0, 2)
for epoch in range(10 ** 6):
    for batch in photos.epoch(epoch):
        print('batch', flush=True)
'''


@pytest.mark.parametrize('how', [
    signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_workers_end_however_the_reader_ends(source, how):
    reader = subprocess.Popen([sys.executable, '-c', READER, source.path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              # a shell's background job, in which tests may run, ignores SIGINT
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                              env=child_environment())
    reader.stdout.readline()
    workers = children(reader.pid)
    assert len(workers) == 2
    reader.send_signal(how)
    errors = reader.communicate(timeout=20)[1]
    assert reader.returncode != 0 and ('Traceback' not in errors or how == signal.SIGINT)
    wait_for(lambda: not any(os.path.exists(f'/proc/{worker}') for worker in workers))


START_METHODS = '''
import multiprocessing, sys
import openatac, mxnet as mx
from openatac.data.photos.batches import TrainingPhotoBatches
from openatac.data.records.record_file import RecordFile

def main():
    multiprocessing.set_start_method(sys.argv[1])
    photos = TrainingPhotoBatches(RecordFile(sys.argv[2]), 16, 8, 1, 2)
    print([label for _, labels, *_ in photos.epoch(0) for label in labels.astype(int).tolist()])
    numbers = mx.gluon.data.ArrayDataset(list(range(4)))
    print([batch.asnumpy().tolist() for batch in mx.gluon.data.DataLoader(numbers, 2, num_workers=1)])

if __name__ == '__main__':
    main()
'''


@pytest.mark.parametrize('method', [
    pytest.param('fork', marks=pytest.mark.slow), pytest.param('spawn', marks=pytest.mark.slow),
    'forkserver'])  # joblib adds its own method, loky
def test_workers_start_with_every_multiprocessing_method(source, tmp_path, method):
    """Test our workers and Gluon's DataLoader's; from Python 3.14 on, the default is forkserver."""
    (tmp_path / 'read.py').write_text(START_METHODS)
    result = run_python(tmp_path / 'read.py', method, source.path)
    assert result.returncode == 0, result.stderr
    ours, gluons = result.stdout.splitlines()[-2:]
    photos = training(source)
    assert ours == str(labels_of(photos.epoch(0)))
    assert gluons == '[[0, 1], [2, 3]]'


def test_real_photographs_do_not_depend_on_the_number_of_workers(shared_data):
    folder = ImageFolder(str(shared_data / 'imagenet_sample'))
    photos = TrainingPhotoBatches(folder, 96, 50, 7, 2)
    alone = TrainingPhotoBatches(folder, 96, 50, 7, 0)
    for ours, theirs in zip(photos.epoch(3), alone.epoch(3)):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert photos.bad.count == 0
