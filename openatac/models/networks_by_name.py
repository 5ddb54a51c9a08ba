"""Networks by name: ``get_model('cifar_resnet20_v2_atac')``."""
from __future__ import annotations

from typing import Any

from mxnet.gluon.block import HybridBlock

from openatac.files.reading import PathLike
from openatac.models.weights import load_pretrained
from openatac.zoo.names import parse_network_name
from openatac.zoo.weights.pretrained import Pretrained, pretrained_file


def get_model(name: str, classes: int | None = None, ctx: Any = None, pretrained: bool | PathLike = False,
              **kwargs: Any) -> HybridBlock:
    """Build the network called ``name``, not yet initialised unless ``pretrained``.

    With ``classes=5, pretrained=FILE`` it is ready for fine-tuning: see `load_pretrained`.

    Parameters
    ----------
    name : str
        A network's name in any letter case, such as one of `get_model_list`.
    classes : int, optional
        Number of classes. By default the host's: 10 for CIFAR and 1000 for ImageNet.
    ctx : mxnet.Context or list of mxnet.Context, optional
        Where to put ``pretrained`` parameters; by default the CPU.
    pretrained : bool or str
        A parameter file of this network, of any kind in `openatac.zoo.weights.parameter_files`, the folder of
        a run, a name in `openatac models`, or True for the weights that come with the package (see
        `openatac.zoo.weights.pretrained`). If they have another number of classes, the last layer is drawn
        from MXNet's random state.
    **kwargs
        Settings of the host, such as ``r``, ``useGlobal``, ``act_layers`` or ``reduction``.

    Returns
    -------
    mxnet.gluon.HybridBlock
        Maps images (B, C, H, W) to logits (B, classes).

    Raises
    ------
    ValueError
        For an unknown name (the message lists the nearest ones), for bad arguments, or if there are no
        trained weights.
    ParameterFileError
        For a file that is damaged or from another network.
    """
    host, named = parse_network_name(name)
    weights = pretrained_file(name, pretrained)
    if classes is not None:
        kwargs['classes'] = classes
    net = host.gluon(**{**named, **kwargs})
    if weights:
        load_pretrained(net, Pretrained(weights, host.output), ctx)
    return net
