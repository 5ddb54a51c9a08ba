"""Count the costs of a network by name, or of a symbol file."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openatac.errors import FlagError, OpenatacError, last_line
from openatac.files.export_file_names import MANIFEST_SUFFIX, SYMBOL_SUFFIX

if TYPE_CHECKING:
    from openatac.study.costs.gluon_costs import Costs

FILE_SIZE = 224  # pixels; the image side for a symbol file outside an export, which does not specify it


def costs_by_name_or_file(name: str, image_shape: tuple[int, int, int], classes: int | None = None,
                          published: bool = False) -> Costs:
    """Return the costs of a network or a symbol file.

    Parameters
    ----------
    name : str
        A network's name, or a symbol file (.json).
    image_shape : (C, H, W)
        The shape of one image.
    classes : int, optional
        The number of classes; by default the host's.
    published : bool
        Count as the paper does, see `openatac.study.costs.gluon_costs.costs`.

    Raises
    ------
    UsageError
        For an unknown network.
    OpenatacError
        For a file that is not a symbol, or images that do not fit.
    """
    import mxnet as mx

    from openatac.export.exported_symbol import read_exported_symbol
    from openatac.graph.tensor_sizes import check_tensor_sizes
    from openatac.models.networks_by_name import get_model
    from openatac.study.costs.gluon_costs import costs, symbol_costs
    if name.endswith(MANIFEST_SUFFIX):
        if classes is not None:
            raise FlagError('--classes', f'{name} has its own; leave it out')
        network = read_exported_symbol(_symbol_file(name))
    else:
        network = get_model(name, classes=classes)
    try:
        if isinstance(network, mx.gluon.Block):
            return costs(network, image_shape, published)
        check_tensor_sizes(network, image_shape)
        return symbol_costs(network, image_shape, published)
    except (mx.MXNetError, ValueError) as error:
        reason = last_line(error)
        size = f'{image_shape[1]} x {image_shape[2]}'
        raise OpenatacError(f'{name} does not take images of {size} pixels ({reason}): choose another '
                            '--input-size') from None


def _symbol_file(path: str) -> str:
    """Return the symbol file of an export if ``path`` is its manifest, otherwise ``path``."""
    symbol = path.removesuffix(MANIFEST_SUFFIX) + SYMBOL_SUFFIX
    return symbol if os.path.exists(symbol) else path


def image_shape_of(name: str) -> tuple[int, int, int]:
    """Return the image shape (C, H, W) of a network or an export, with `FILE_SIZE` for other files."""
    from openatac.export.forms.base import prefix_of
    from openatac.trained.manifest import read_manifest
    from openatac.zoo.names import host_of
    if not name.endswith(MANIFEST_SUFFIX):
        return host_of(name).input_shape
    file = _symbol_file(name)
    prefix = prefix_of(file)
    if prefix + MANIFEST_SUFFIX != file and os.path.exists(prefix + MANIFEST_SUFFIX):
        return read_manifest(prefix).image_shape
    return 3, FILE_SIZE, FILE_SIZE
