"""openatac: "Attention as Activation" (ATAC, ICPR 2020) in Apache MXNet Gluon and PyTorch.

Importing this package is cheap and does not load MXNet: it only makes sure that a later ``import mxnet``
works. The public names below load on first use.
"""
import importlib
from typing import Any

import openatac.system.mxnet  # noqa: F401  (installs the import hook)
from openatac.version import __version__

_PUBLIC = {
    'ChaATAC': 'openatac.nn.atac',
    'ResNet20V2ATAC': 'openatac.models.cifar_resnet',
    'ResNet50_v1bATAC': 'openatac.models.resnet_v1b',
    'get_model': 'openatac.models.networks_by_name',
    'get_model_list': 'openatac.zoo.names',
    'load': 'openatac.inference.predictor',
    'register_activation': 'openatac.zoo.registration',
    'register_attention': 'openatac.zoo.registration',
    'register_backend': 'openatac.backends.registered_backends',
    'register_form': 'openatac.export.forms.base',
    'register_host': 'openatac.zoo.registration',
    'register_runtime': 'openatac.export.runtimes.base',
    'replace_activations': 'openatac.replacement.activations',
    'to_gluon': 'openatac.conversion.networks',
    'to_torch': 'openatac.conversion.networks',
}
__all__ = [*sorted(_PUBLIC), '__version__']


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
