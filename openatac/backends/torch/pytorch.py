"""PyTorch, or one sentence that says how to get it."""
from openatac.errors import NO_PYTORCH

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
    raise ModuleNotFoundError(NO_PYTORCH, name='torch') from None

__all__ = ['torch']
