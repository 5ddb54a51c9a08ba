"""Progressive JPEG files without their end marker."""
import numpy as np
import pytest
from PIL import Image

from openatac.data.images.codec import decode
from openatac.data.images.jpeg_scans import has_all_scans
from openatac.data.images.source import BadImage
from tests.helpers.images.made_up_images import encoded, smooth


def progressive(mode='RGB', **options):
    return encoded(Image.fromarray(smooth(60, 80)).convert(mode), progressive=True, **options)


@pytest.mark.parametrize('options', [{}, {'mode': 'L'}, {'quality': 95}, {'subsampling': 0}])
def test_complete_file_without_end_marker_is_used(options):
    whole = progressive(**options)
    np.testing.assert_array_equal(decode(whole[:-2]), decode(whole))


@pytest.mark.parametrize('options', [{}, {'mode': 'L'}, {'quality': 95}, {'subsampling': 0}])
def test_every_shorter_file_is_refused(options):
    whole = progressive(**options)
    for length in range(2, len(whole) - 2, 11):
        with pytest.raises(BadImage):
            decode(whole[:length])


def test_missing_scans_are_noticed():
    whole = progressive()
    starts = [at for at in range(len(whole)) if whole.startswith(b'\xff\xda', at)]
    assert has_all_scans(whole) and len(starts) > 5
    for start in starts:
        assert not has_all_scans(whole[:start])


@pytest.mark.parametrize('data', [b'\xff\xd8', b'\xff\xd8\xff\xc2\x00\x02', b'\xff\xd8\xff\xda\x00\x03\x09'])
def test_damaged_headers_are_not_complete(data):
    assert not has_all_scans(data)
