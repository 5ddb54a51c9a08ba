"""The outcomes of labelled images equal explicit calculations."""
import numpy as np
import pytest

from openatac.errors import OpenatacError
from openatac.evaluation.outcomes import Outcomes


def outcomes(outputs, labels):
    found = Outcomes()
    found.add(np.array(outputs, 'float32'), np.array(labels))
    return found


def two_classes(score, correct):
    """Return the outputs and label of an image whose top class, 0, has that score."""
    return [np.log(score / (1 - score)), 0], int(not correct)


def test_calibration_error_equals_a_hand_calculation():
    # Four images of score 0.75 in the bin (11/15, 12/15], two of them right, and one of score 0.95.
    images = [two_classes(0.75, right) for right in (True, True, False, False)] + [two_classes(0.95, True)]
    found = outcomes(*zip(*images))
    assert found.calibration_error() == pytest.approx((4 * 0.25 + 1 * 0.05) / 5)
    bins = found.calibration()
    assert len(bins) == 15 and sum(each.images for each in bins) == 5
    assert (bins[11].images, bins[11].accuracy) == (4, 0.5) and bins[11].score == pytest.approx(0.75)
    assert (bins[11].low, bins[11].high) == (11 / 15, 12 / 15)


def test_certain_correct_predictions_are_perfectly_calibrated():
    assert outcomes([[1000, 0], [0, 1000]], [0, 1]).calibration_error() == 0
    assert outcomes([[1000, 0], [0, 1000]], [1, 0]).calibration_error() == 1


def test_losses_ranks_and_predictions_accumulate_over_batches():
    random = np.random.RandomState(0)
    outputs, labels = random.randn(50, 8).astype('float32'), random.randint(0, 8, 50)
    found = Outcomes()
    for part in (slice(0, 20), slice(20, 50)):
        found.add(outputs[part], labels[part].astype('float32'))
    powers = np.exp(outputs.astype('float64'))
    own = (powers / powers.sum(1, keepdims=True))[np.arange(50), labels]
    np.testing.assert_allclose(found.losses, -np.log(own), atol=1e-6)
    assert (found.predicted == outputs.argmax(1)).all() and (found.correct == (found.ranks == 0)).all()
    assert (found.ranks == [list(np.argsort(-row)).index(label) for row, label in zip(outputs, labels)]).all()
    matrix = found.confusion(8)
    assert matrix.sum() == 50 and matrix.trace() == found.correct.sum()
    assert matrix[labels[0], outputs[0].argmax()] > 0


def test_loss_beyond_the_range_of_a_probability_is_exact():
    assert outcomes([[0, 1000]], [0]).losses[0] == 1000


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_outputs_of_a_diverged_network_are_refused(value):
    with pytest.raises(OpenatacError):
        outcomes([[value, 0]], [0])
