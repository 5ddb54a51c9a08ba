"""What is done alike to networks of Gluon and of PyTorch, which their libraries call differently.

A network that may be of either is of Gluon where MXNet is installed, and of PyTorch elsewhere.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from openatac.graph.nodes import INPUT
from openatac.runtime.libraries import has_mxnet, has_torch, require_mxnet


class Library(NamedTuple):
    """The functions of one library.

    Attributes
    ----------
    load_parameters : callable
        ``load_parameters(net, path)`` gives a network the values of a file, in any of their forms.
    gluon_names : callable
        ``gluon_names(net)`` returns {structural name: name in Gluon's prefixed files}.
    count_outputs : callable
        ``count_outputs(net, shape)`` returns how many outputs it has for images (B, C, H, W).
    GroupNorm : type
    """

    load_parameters: Callable[[Any, str], None]
    gluon_names: Callable[[Any], dict[str, str]]
    count_outputs: Callable[[Any, tuple[int, ...]], int]
    GroupNorm: type


def installed_library() -> Library:
    """Return MXNet's functions, or PyTorch's where MXNet is missing.

    Raises
    ------
    ModuleNotFoundError
        If both are missing.
    """
    if has_mxnet() or not has_torch():
        require_mxnet()
        return _gluon()
    return _pytorch()


def _gluon() -> Library:
    import mxnet as mx

    from openatac.models.weights.parameters import gluon_names, load_parameters
    from openatac.nn.group_norm import GroupNorm

    def count_outputs(net: Any, shape: tuple[int, ...]) -> int:
        return net(mx.sym.var(INPUT)).infer_shape(**{INPUT: shape})[1][0][1]

    return Library(load_parameters, gluon_names, count_outputs, GroupNorm)


def _pytorch() -> Library:
    import torch

    from openatac.pytorch.gluon_names import gluon_names
    from openatac.pytorch.nn.normalisation import GroupNorm
    from openatac.pytorch.weights import load_parameters

    def count_outputs(net: Any, shape: tuple[int, ...]) -> int:
        return net.eval()(torch.zeros(shape)).shape[1]

    return Library(load_parameters, gluon_names, count_outputs, GroupNorm)
