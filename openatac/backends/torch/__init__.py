"""PyTorch as a backend: the same graphs, steps and checkpoints, even without MXNet."""
from openatac.errors import NO_PYTORCH

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
    raise ModuleNotFoundError(NO_PYTORCH, name='torch') from None
