"""The published learning rates, to the last printed digit, without any training."""
import json

import pytest

from openatac.data.photos.batches import first_iteration
from openatac.training.schedule import decay_epochs, step_schedule, warmup_schedule
from tests.oracle import CASES

IMAGES, BATCH = 1281167, 256


def test_rates_equal_the_published_imagenet_log():
    """The rate is 0.075 after 5 epochs of warm-up, then a cosine to 0 at 160, as in the 16,000-line log."""
    with open(CASES.parent / 'imagenet_log.json', encoding='utf-8') as handle:
        printed = json.load(handle)['learning_rate']
    schedule = warmup_schedule('cosine', 0.075, 160, IMAGES // BATCH, warmup_epochs=5)
    different = [line for line in printed
                 if round(schedule(first_iteration(line[0], IMAGES, BATCH) + line[1]), 6) != line[2]]
    assert len(printed) > 2000 and not different


def test_epoch_begins_where_the_previous_one_ended():
    """A part of 334 records in batches of 50 has epochs of 7, 7, 7 and 6 batches."""
    starts = [first_iteration(epoch, 334, 50) for epoch in range(5)]
    assert [b - a for a, b in zip(starts, starts[1:])] == [7, 7, 7, 6]


@pytest.mark.parametrize('mode, expected', [
    ('step', [0, .25, .5, .75, 1, 1, .1, .1, .01, .01]),
    ('poly', [0, .25, .5, .75, 1, 25 / 36, 16 / 36, 9 / 36, 4 / 36, 1 / 36]),
    ('cosine', [0, .25, .5, .75, 1, .9330127, .75, .5, .25, .0669873])])
def test_rates_of_each_mode_after_a_warm_up(mode, expected):
    """Compare at the start of each of 10 epochs; GluonCV is one iteration in 4,000 ahead."""
    schedule = warmup_schedule(mode, 1.0, 10, 1000, warmup_epochs=4, decay_epochs=[6, 8])
    assert [schedule(1000 * epoch) for epoch in range(10)] == pytest.approx(expected, abs=1e-3)


def test_warm_up_starts_at_the_given_rate():
    schedule = warmup_schedule('cosine', 1.0, 4, 11, warmup_epochs=1, warmup_lr=0.5)
    assert [schedule(iteration - 1) for iteration in (0, 5, 10)] == [0.5, 0.75, 1.0]


def test_cifar_recipe_divides_at_the_start_of_an_epoch():
    schedule = step_schedule(0.2, 400, 390, decay_epochs('350,300', 0, 400), 0.1)
    places = [0, 300 * 390 - 1, 300 * 390, 350 * 390 - 1, 350 * 390, 400 * 390 - 1]
    assert [schedule(place) for place in places] == pytest.approx([.2, .2, .02, .02, .002, .002])


@pytest.mark.parametrize('text', ['300,x', '\u00b2', '9' * 5000, '3.5', '-1'])
def test_malformed_list_of_epochs_is_refused(text):
    with pytest.raises(ValueError, match='--lr-decay-epoch'):
        decay_epochs(text, 0, 400)


@pytest.mark.parametrize('mode', ['step', 'poly', 'cosine'])
@pytest.mark.parametrize('warmup_epochs', [0, 3, 11])
def test_rates_equal_gluoncv_to_the_bit(mode, warmup_epochs):
    from gluoncv.utils import LRScheduler, LRSequential
    theirs = LRSequential([
        LRScheduler('linear', base_lr=0.01, target_lr=0.3, nepochs=warmup_epochs, iters_per_epoch=37),
        LRScheduler(mode, 0.3, target_lr=0, nepochs=11 - warmup_epochs, iters_per_epoch=37, power=2,
                    step_epoch=[epoch - warmup_epochs for epoch in (5, 8)], step_factor=0.3)])
    ours = warmup_schedule(mode, 0.3, 11, 37, warmup_epochs, 0.01, [5, 8], 0.3)
    assert [ours(i) for i in range(11 * 37 + 5)] == [theirs(i + 1) for i in range(11 * 37 + 5)]


def test_steps_equal_gluoncv_to_the_bit():
    from gluoncv.utils import LRScheduler
    theirs = LRScheduler('step', 0.2, nepochs=11, iters_per_epoch=37, step_epoch=[5, 8], step_factor=0.1)
    ours = step_schedule(0.2, 11, 37, [8, 5], 0.1)
    assert [ours(i) for i in range(11 * 37 + 5)] == [theirs(i) for i in range(11 * 37 + 5)]
