"""A run notices other computing on its machine, warns once, and records it in its summary."""
import logging
import os
import re
import time
from types import SimpleNamespace

import pytest

from openatac.options.declaration import build_config
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import CifarConfig
from openatac.training.runs.run_summary import Description, summarise
from openatac.training.tracking import contention
from openatac.training.tracking.contention import ContentionWatch, Usage, read_usage


def watch(others, threads=2, processors=2, seconds=contention.WINDOW, own=1.5, progress=None):
    """Return the watch after a run; ``others`` are the processors that others kept busy in each interval."""
    usages = [Usage(5.0, 100.0, 30.0, processors)]
    for share in others:
        clock, busy, used, _ = usages[-1]
        usages.append(Usage(clock + seconds, busy + (own + share) * seconds, used + own * seconds,
                            processors))
    watching = ContentionWatch(progress or Progress(), iter(usages).__next__, threads)
    for step in range(len(others)):
        watching.interval(step, {})
    return watching


@pytest.mark.parametrize('others, options, disturbed', [
    ([0.0] * 20, {}, False),
    ([0.2] * 20, {}, False),                                # normal use of a desktop
    ([2.0, 0.1] * 10, {}, False),                           # bursts of ten seconds
    ([1.0] * 2, {}, True),                                  # another training run
    ([0.0, 0.5, 0.5], {}, True),
    ([1.0] * 20, {'threads': 1}, False),                    # each thread still has a processor
    ([2.0] * 2, {'threads': 1}, True),
    ([3.0] * 20, {'threads': 4, 'processors': 8}, False),
    ([5.0] * 2, {'threads': 4, 'processors': 8}, True),
    ([1.0] * 20, {'seconds': contention.WINDOW / 40}, False),  # five seconds in all
    ([1.0] * 80, {'seconds': contention.WINDOW / 40}, True),   # short intervals add up to windows
    ([-0.3] * 20, {'own': 2.3}, False),                     # clocks that differ slightly
])
def test_other_programs_are_noticed_when_they_take_needed_cores(caplog, others, options, disturbed):
    with caplog.at_level(logging.WARNING, 'openatac'):
        watching = watch(others, **options)
    assert watching.progress.disturbed == disturbed
    assert len(caplog.records) == disturbed


@pytest.mark.parametrize('others, threads, processors, remedy', [
    (1.0, 2, 2, '1'), (2.0, 2, 2, '1'), (3.1, 8, 8, '5'), (2.0, 1, 2, None)])
def test_warning_appears_once_with_the_remedy(caplog, others, threads, processors, remedy):
    with caplog.at_level(logging.WARNING, 'openatac'):
        watch([others] * 10, threads, processors)
    line, = (record.getMessage() for record in caplog.records)
    assert f'{others:.1f} of {processors} processors' in line
    assert re.findall(r'OMP_NUM_THREADS=(\d+)', line) == ([remedy] if remedy else [])
    assert ('--resume auto' in line) == bool(remedy)


@pytest.mark.parametrize('reads', [[None], [Usage(0, 0, 0, 2), None, None]])
def test_no_warning_where_usage_is_unknown(reads):
    watching = ContentionWatch(Progress(), iter(reads).__next__, 2)
    for step in range(2):
        watching.interval(step, {})
    assert not watching.progress.disturbed


def test_disturbance_survives_a_resume_and_older_checkpoints_load(tmp_path):
    learner = SimpleNamespace(load_state=lambda arrays, numbers: None)
    disturbed = watch([1.0] * 2).progress.for_json()
    older = {name: value for name, value in disturbed.items() if name != 'disturbed'}
    for iteration, (saved, expected) in enumerate([(disturbed, True), (older, False)]):
        checkpoints_of(str(tmp_path)).save(iteration, {}, {
            'settings': {}, 'engine': {'iteration': 0, 'images': 0}, 'progress': saved})
        resumed = Progress()
        assert resumed.resume(str(tmp_path), learner, lambda *checkpoint: checkpoint)
        assert resumed.disturbed is expected


PLAN = SimpleNamespace(settings={}, test=None, learner=SimpleNamespace(devices='1 x cpu', versions={}))


@pytest.mark.parametrize('disturbed', [False, True])
def test_summary_says_whether_the_run_was_disturbed(disturbed):
    progress = watch([1.0 * disturbed] * 2).progress
    history = [{'val_accuracy': 0.5, 'images_per_second': 1.0}]
    summary = summarise(build_config(CifarConfig, {}), Description('', '', {}), PLAN, history, progress)
    assert summary['disturbed'] is disturbed


# ------------------------------------------------------------------------ usage from the kernel

def process(root, number, parent, ticks, name='python'):
    (root / str(number)).mkdir()
    (root / str(number) / 'stat').write_text(
        f'{number} ({name}) S {parent} 1 1 0 -1 4194304 9 9 9 9 {" ".join(map(str, ticks))} 20 0 1 0 77\n')


def test_usage_counts_allowed_processors_and_all_own_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {1, 3}, raising=False)
    monkeypatch.setattr(os, 'getpid', lambda: 10)
    monkeypatch.setattr(os, 'sysconf', lambda name: 100)
    # user nice system idle iowait irq softirq steal guest guest_nice
    (tmp_path / 'stat').write_text(
        'cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 5 5 5 5 5 5 5 5 5 5\n'
        'cpu1 100 20 3 7777 8888 400 50 6 9999 9999\n'
        'cpu2 5 5 5 5 5 5 5 5 5 5\ncpu3 1000 0 0 7 8 0 0 0 0 0\ncpu13 5 5 5 5 5 5 5 5 5 5\nintr 1 2\n')
    process(tmp_path, 10, 1, (1000, 200, 30, 4))
    process(tmp_path, 11, 10, (5, 0, 0, 0), name='forkserver (a) b')
    process(tmp_path, 12, 11, (100, 0, 0, 0))
    process(tmp_path, 20, 1, (7777, 0, 0, 0))                    # an unrelated process
    usage = read_usage(str(tmp_path))
    assert usage[1:] == (pytest.approx(15.79), pytest.approx(13.39), 2)


def test_usage_is_unknown_without_proc(monkeypatch, tmp_path):
    assert read_usage(str(tmp_path)) is None
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    assert read_usage() is None


def test_usage_is_unknown_if_proc_lacks_this_process(tmp_path):
    (tmp_path / 'stat').write_text('cpu0 1 2 3 4 5 6 7 8 9 10\n')
    process(tmp_path, os.getpid() + 1, 1, (1, 0, 0, 0))
    assert read_usage(str(tmp_path)) is None


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='reads Linux\'s /proc')
def test_usage_of_this_process_grows_with_its_work():
    before, end = read_usage(), time.process_time() + 0.1
    while time.process_time() < end:
        pass
    now = read_usage()
    assert now.own - before.own >= 0.05 and now.clock > before.clock and now.processors == before.processors
