"""Networks by name: ``get_model('cifar_resnet20_v2_atac')``."""
from __future__ import annotations

from typing import Any

from torch import nn

from openatac.files.reading import PathLike
from openatac.pytorch.weights import load_pretrained
from openatac.zoo.names import parse_network_name
from openatac.zoo.weights.pretrained import Pretrained, pretrained_file


def get_model(name: str, classes: int | None = None, pretrained: bool | PathLike = False, **kwargs: Any
              ) -> nn.Module:
    """Build the network called ``name``, with the initial values of the published training.

    The values follow ``torch.manual_seed``; MXNet draws other numbers from the same distributions. With
    ``classes=5, pretrained=FILE`` the network is ready for fine-tuning: its last layer keeps its initial
    values.

    Parameters
    ----------
    name : str
        A network's name in any letter case, such as one of `get_model_list`.
    classes : int, optional
        Number of classes. By default the host's: 10 for CIFAR and 1000 for ImageNet.
    pretrained : bool or str
        A parameter file of this network, of any kind in `openatac.zoo.weights.parameter_files`, the folder of
        a run, a name in `openatac models`, or True for the weights that come with the package (see
        `openatac.zoo.weights.pretrained`).
    **kwargs
        Settings of the host, such as ``r``, ``useGlobal``, ``act_layers`` or ``reduction``.

    Returns
    -------
    torch.nn.Module
        Maps images (B, C, H, W) to logits (B, classes). Networks with ge, ge_theta or aa have weights as
        large as the image: without ``pretrained``, run them on one image before giving them to an optimizer.

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
    net = host.torch(**{**named, **kwargs})
    if weights:
        load_pretrained(net, Pretrained(weights, host.output))
    return net
