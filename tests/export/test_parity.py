"""The check that an export computes the same as its network, and the errors that it raises."""
import re

import numpy as np
import pytest

from openatac.export.parity import SAME_TOLERANCE, ParityCheck, ParityError


def test_rounding_that_the_network_amplifies_is_tolerated():
    """As in a barely trained network, the last bit of the image here moves each output by 1e-3."""
    def network(images):
        return np.sin(1e4 * images.reshape(len(images), -1)[:, :5].astype('float64')).astype('float32')

    check = ParityCheck(network, (3, 8, 8))
    assert 1e-4 < check.rounding < 1e-2
    report = check.report(lambda images: network(images) + 2 * check.rounding, SAME_TOLERANCE)
    assert report['max_difference'] > 10 * SAME_TOLERANCE
    assert f'{check.rounding:g}' in report['warning'] and 'train' in report['warning']
    with pytest.raises(ParityError, match=re.escape(f'{check.rounding:g}') + '.*train'):  # cause and remedy
        check.report(lambda images: network(images) + 20 * check.rounding, SAME_TOLERANCE)


def test_disagreement_with_huge_outputs_is_blamed_on_training():
    def network(images):
        return 1e9 * images.reshape(len(images), -1)[:, :5]

    check = ParityCheck(network, (3, 8, 8))
    cause = re.escape(f'{check.largest:.1g}')  # rounded only there
    with pytest.raises(ParityError, match=cause + '.*train'):
        check.report(lambda images: 1.02 * network(images), SAME_TOLERANCE)


def test_disagreement_with_small_rounding_is_not_blamed_on_training():
    def network(images):
        return images.reshape(len(images), -1)[:, :5]

    check = ParityCheck(network, (3, 8, 8))
    with pytest.raises(ParityError) as error:
        check.report(lambda images: network(images) + 0.1, SAME_TOLERANCE)
    said = str(error.value)
    assert '0.1' in said and f'{check.rounding:g}' not in said and 'train' not in said
