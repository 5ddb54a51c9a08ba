"""The colour, marker and line of each unit, the same in all figures."""
from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from openatac.figures import COLOURS, LINES

MARKERS = 'osD^vhp' 'P8<dX>*' 'H'  # markers of one colour, 7 apart, look different
STYLED_UNITS = (  # the position here determines the look
    'relu', 'atac', 'se', 'swish', 'atac_global', 'eca', 'cbam', 'ge', 'mish', 'lca', 'nin', 'prelu', 'gelu',
    'frelu', 'xunit')


def unit_styles(units: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return {unit: its colour, marker and line}, the same in all figures for the units of `STYLED_UNITS`.

    The name of any other unit determines its look, unless another of the ``units`` already has that marker.
    """
    names = list(dict.fromkeys(units))
    taken: set[int] = set()
    looks: dict[str, int] = {}
    for unit in sorted(names, key=lambda unit: (unit not in STYLED_UNITS, unit)):
        look = STYLED_UNITS.index(unit) if unit in STYLED_UNITS else zlib.crc32(unit.encode()) % len(MARKERS)
        while look % len(MARKERS) in taken and len(taken) < len(MARKERS):
            look += 1
        taken.add(look % len(MARKERS))
        looks[unit] = look
    return {unit: {'color': COLOURS[looks[unit] % len(COLOURS)],
                   'marker': MARKERS[looks[unit] % len(MARKERS)],
                   'linestyle': LINES[looks[unit] // len(COLOURS) % len(LINES)]} for unit in names}
