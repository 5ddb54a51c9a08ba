"""Read the symbol files of an export, and check them against its manifest and each other.

`openatac.graph.symbol_files` lists all checks of symbol files.
"""
from __future__ import annotations

import os

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.export.forms.base import prefix_of
from openatac.files.export_checksums import check_files
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.graph.nodes import INPUT, SymbolicShape
from openatac.graph.symbol_block import NDArrays, symbol_block
from openatac.graph.symbol_files import array_keys, read_symbol
from openatac.graph.tensor_sizes import check_takes_images
from openatac.models.weights import read_arrays
from openatac.zoo.weights.parameter_files import ARG, without_kind


def read_exported_symbol(path: str) -> mx.sym.Symbol:
    """Read the Symbol in the file ``path``; raise OpenatacError if it is damaged or has no input `INPUT`."""
    check_files(prefix_of(path), [path])
    symbol = read_symbol(path)
    if INPUT not in symbol.list_arguments():
        raise OpenatacError(f'{path} has no input called {INPUT!r}: give a file that openatac has exported')
    return symbol


def read_exported_files(path: str) -> tuple[mx.sym.Symbol, NDArrays]:
    """Read the symbol and the arrays in ``path-symbol.json`` and ``path-0000.params``.

    Raises
    ------
    OpenatacError
        If a file is missing or damaged, or the two do not belong together.
    """
    check_files(prefix_of(path + SYMBOL_SUFFIX), [path + PARAMS_SUFFIX])
    symbol, arrays = read_exported_symbol(path + SYMBOL_SUFFIX), read_arrays(path + PARAMS_SUFFIX)
    wrong = sorted(set(array_keys(symbol)) ^ set(arrays))
    if wrong:
        raise _not_a_pair(path, f', since {wrong[0]} is in one of them only')
    return symbol, arrays


def load_block(path: str, ctx: mx.Context | None = None, image_shape: SymbolicShape | None = None
               ) -> mx.gluon.SymbolBlock:
    """Load the two files of ``path`` as a SymbolBlock; raise as `read_exported_files` does.

    Parameters
    ----------
    path : str
    ctx : Context, optional
    image_shape : (C, H, W), optional
        The shape of the images that the network must accept, checked before it runs.
    """
    symbol, arrays = read_exported_files(path)
    if image_shape:
        check_takes_images(symbol, image_shape, **{without_kind(key): array.shape
                                                   for key, array in arrays.items() if key.startswith(ARG)})
    try:
        return symbol_block(symbol, arrays, ctx)
    except (AssertionError, ValueError, TypeError, mx.MXNetError) as error:  # wrong shapes, types or storage
        raise _not_a_pair(path, f' ({error})') from None


def _not_a_pair(path: str, reason: str) -> OpenatacError:
    return OpenatacError(f'{path + SYMBOL_SUFFIX} and {os.path.basename(path + PARAMS_SUFFIX)} do not '
                         f'belong together{reason}: export again')
