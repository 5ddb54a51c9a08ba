"""Progressive JPEG files without their end marker."""
import numpy as np
import pytest
from PIL import Image

from openatac.data.images.decoding import decode
from openatac.data.images.jpeg_scans import lacks_scans
from openatac.data.images.source import BadImageError
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
        with pytest.raises(BadImageError):
            decode(whole[:length])


def test_missing_scans_are_noticed():
    whole = progressive()
    starts = [at for at in range(len(whole)) if whole.startswith(b'\xff\xda', at)]
    assert not lacks_scans(whole) and len(starts) > 5
    for start in starts:
        assert lacks_scans(whole[:start])


def with_metadata(file, data):
    """Return a JPEG file with a segment of metadata behind its start marker."""
    return file[:2] + b'\xff\xe1' + (len(data) + 2).to_bytes(2, 'big') + data + file[2:]


def test_thumbnail_in_the_metadata_does_not_count():
    whole = with_metadata(progressive(), encoded(smooth(8, 8)))
    np.testing.assert_array_equal(decode(whole[:-2]), decode(whole))
    last = whole.rindex(b'\xff\xda')
    with pytest.raises(BadImageError):
        decode(whole[:last])


def test_markers_in_the_metadata_of_a_baseline_file_do_not_count():
    whole = with_metadata(encoded(smooth(60, 80)), b'text \xff\xc2\x00\x02')
    np.testing.assert_array_equal(decode(whole[:-2]), decode(whole))


@pytest.mark.parametrize('data', [b'\xff\xd8', b'\xff\xd8\xff\xc2\x00\x02', b'\xff\xd8\xff\xda\x00\x03\x09'])
def test_damaged_headers_are_refused(data):
    assert not lacks_scans(data)
    with pytest.raises(BadImageError):
        decode(data)
