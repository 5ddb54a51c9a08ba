"""Files are read at any position, in any thread, with or without pread."""
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from openatac.files.reading import read_at


@pytest.mark.parametrize('has_pread', [True, False])
def test_threads_have_independent_read_positions(tmp_path, monkeypatch, has_pread):
    if not has_pread:
        monkeypatch.delattr(os, 'pread')
    content = os.urandom(100_000)
    (tmp_path / 'x').write_bytes(content)
    with open(tmp_path / 'x', 'rb', buffering=0) as file, ThreadPoolExecutor(4) as threads:
        places = [(offset * 997) % 99_000 for offset in range(500)]
        parts = threads.map(lambda offset: read_at(file.fileno(), 100, offset), places)
        assert all(part == content[offset:offset + 100] for offset, part in zip(places, parts))
