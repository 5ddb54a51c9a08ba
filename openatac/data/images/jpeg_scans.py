"""Find out whether a progressive JPEG file has all its scans (ITU-T T.81, sections B.2 and G.1)."""
from __future__ import annotations

import re
from collections.abc import Iterator

PROGRESSIVE, START_OF_SCAN, END = 0xc2, 0xda, 0xd9  # markers, after a byte 0xff
_WITHOUT_LENGTH = {0x01, *range(0xd0, 0xd9)}
_NEXT_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')  # after a scan, whose data can contain other 0xff


def lacks_scans(data: bytes) -> bool:
    """Return whether a progressive JPEG file lacks scans: its scans must cover all bits of all coefficients.

    The last scan may still be cut off. The function returns False for JPEG files that are not progressive.
    """
    missing: dict[int, set[int]] = {}  # {component: coefficients}
    for marker, content in _segments(data):
        if marker == PROGRESSIVE and len(content) > 5:
            missing = {component: set(range(64)) for component in content[6:6 + 3 * content[5]:3]}
        elif marker == START_OF_SCAN and content and len(content) >= 4 + 2 * content[0]:
            components = content[1:1 + 2 * content[0]:2]
            settings = content[1 + 2 * content[0]:]
            first, last, precision = settings[:3]
            if precision & 15 == 0:
                for component in components:
                    missing.get(component, set()).difference_update(range(first, last + 1))
    return any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of each segment before the end marker or the end of the data."""
    position = 2
    while (position := data.find(b'\xff', position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == END:
            return
        if marker == 0xff or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xff else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2:position + 4], 'big')
        yield marker, data[position + 4:end]
        position = end
        if marker == START_OF_SCAN:
            after = _NEXT_MARKER.search(data, position)
            if after is None:
                return
            position = after.start()
