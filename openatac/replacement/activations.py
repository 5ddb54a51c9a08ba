"""Replace the activations of an existing network, to put ATAC into any Gluon or PyTorch network."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from openatac.registry import arguments_of
from openatac.replacement.rules import Where
from openatac.zoo.units import ACTIVATIONS


def replace_activations(net: Any, act_type: str, where: Where = None,
                        image_shape: Sequence[int] = (3, 224, 224), init: Any = None, **settings: Any
                        ) -> list[str]:
    """Replace activations of ``net`` with ``act_type``, in place.

    These blocks and modules count as activations: in Gluon, Activation with relu or softrelu, LeakyReLU,
    PReLU, ELU, SELU, GELU and Swish, and ReLU6 and HardSwish as in GluonCV; in PyTorch, ReLU, ReLU6,
    LeakyReLU, RReLU, PReLU, ELU, CELU, SELU, GELU, SiLU, Mish, Hardswish and Softplus, and timm's own; and
    everything in ACTIVATIONS. An activation is kept if the forward pass does not call it, or if it only sees
    maps of one pixel: the vectors of dense layers and of squeeze-and-excitation. (So choose an image large
    enough that real maps have more pixels.) In PyTorch, activations on the (B, H, W, C) output of a linear
    layer are kept, too.

    All other parameters keep their names, order and values; new ones are named after the activations that
    they replace. Hybridized networks stay hybridized. Create the Trainer or the optimizer afterwards.

    Parameters
    ----------
    net : HybridBlock or torch.nn.Module
        A network that takes images (B, C, H, W) and returns any number of outputs. A HybridBlock can be
        initialised, trained or neither, and must be the whole network: an enclosing hybridized block would
        keep running its old graph.
    act_type : str
        A name of `openatac.zoo.units.ACTIVATIONS`.
    where : str or callable, optional
        The activations to replace: a shell pattern of the structural name (as in ``save_parameters``, or in
        ``named_modules``), such as 'layer4.*' or 'layer[34].*.relu[12]', or a function that maps the name to
        a bool. Default: all. In PyTorch, a module that its parent calls several times has one name and gets
        one unit per call, such as 'layer1.0.relu.0' and 'layer1.0.relu.1'.
    image_shape : tuple of int, default (3, 224, 224)
        Shape (C, H, W) of one image that fits the network.
    init : mxnet.init.Initializer or callable, optional
        Draws the new parameters of an initialised network, on its own devices; in PyTorch, ``init(unit)``
        draws them. Default: MSRAPrelu(), as in the paper. In an uninitialised network, ``net.initialize``
        draws them.
    **settings
        Settings of the activation, such as ATAC's r, useReLU and useGlobal.

    Returns
    -------
    list of str
        The structural names of the activations that were replaced.

    Raises
    ------
    ValueError
        If there is nothing to replace, or ``where`` selects activations that can't be replaced, which the
        message names. The network is then unchanged. Two kinds can't be replaced:

        - activations called inside a block's forward, such as F.relu. They have the name BLOCK.forward, which
          ``where`` sees too; to leave them out, pass ``where=lambda name: not name.endswith('forward')``;
        - a Gluon block that another block's forward calls several times, if the new unit has weights, since
          all calls would have to share them. In PyTorch, a module called with different numbers of channels,
          or called by a module other than its parent.

    Examples
    --------
    >>> net = torchvision.models.resnet18()
    >>> openatac.replace_activations(net, 'atac', r=2, where='layer[34].*')
    """
    torch = sys.modules.get('torch')
    in_torch = torch is not None and isinstance(net, torch.nn.Module)
    unit = ACTIVATIONS.find(act_type)
    factory = unit.of('torch' if in_torch else 'gluon')
    _check_arguments(act_type, arguments_of(factory)[1:], where, image_shape, settings)
    if in_torch:
        from openatac.replacement.torch.replacement import replace
    else:
        from openatac.replacement.gluon.replacement import replace
    return replace(net, partial(factory, **settings), where, image_shape, init)


def _check_arguments(act_type: str, known: tuple[str, ...], where: Where, image_shape: Sequence[int],
                     settings: dict[str, Any]) -> None:
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) != 3 or not all(
            isinstance(side, int) and side > 0 for side in image_shape):
        raise ValueError(f'image_shape must be (channels, height, width), not {image_shape!r}')
    if not (where is None or isinstance(where, str) or callable(where)):
        raise ValueError(f'where must be a pattern of names or a function of a name, not {where!r}')
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f'{act_type} has no setting {", ".join(unknown)}; its settings are: '
                         f'{", ".join(known) or "none"}')
