"""PyTorch, or one sentence that says how to get it."""
try:
    import torch
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
    raise ModuleNotFoundError("PyTorch is not installed: run pip install 'openatac[torch]'",
                              name='torch') from None

__all__ = ['torch']
