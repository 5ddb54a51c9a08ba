"""Select the activations of a network to replace, and check the selection."""
from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Union

Where = Union[None, str, Callable[[str], bool]]  # all; a shell pattern of names; a function of a name


def selects(where: Where, name: str) -> bool:
    """Return whether ``where`` selects the activation called ``name``."""
    if isinstance(where, str):
        return fnmatch.fnmatchcase(name, where)
    return where is None or where(name)


def check_selected(where: Where, stuck: Sequence[str], chosen: Sequence[str], on_maps: Sequence[str]) -> None:
    """Raise ValueError if there is nothing to replace, or something that can't be replaced.

    Parameters
    ----------
    where : str or callable, optional
    stuck : list of str
        Descriptions of the selected activations that can't be replaced.
    chosen, on_maps : list of str
        Names of the selected activations that can be replaced, and of all that can.
    """
    if stuck:
        raise ValueError(f"these activations can't be replaced: {', '.join(stuck)}; exclude them with "
                         '`where`, or make each a separate child block')
    if not chosen:
        raise ValueError(f'where={where!r} selects no activation; the activations on feature maps that are '
                         f'separate blocks are: {", ".join(on_maps) or "none"}')


def check_called(unused: Sequence[str]) -> None:
    """Raise ValueError if the network does not call the new units of these names."""
    if unused:
        raise ValueError("these activations can't be replaced, as the network does not call them by these "
                         f'names: {", ".join(unused)}')
