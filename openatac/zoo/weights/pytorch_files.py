"""Read state_dicts that PyTorch saved, without running any code in them."""
from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import numpy as np

from openatac.errors import ParameterFileError
from openatac.files.mxnet_arrays import MAX_PARAMS_BYTES
from openatac.files.reading import check_input
from openatac.system.installed import NO_PYTORCH, has_torch

KIND = 'a state_dict saved by torch.save'


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Read a state_dict that PyTorch saved, as {name: array}; raise ParameterFileError if that fails."""
    if not has_torch():
        raise ModuleNotFoundError(f'{path} is a PyTorch file: {NO_PYTORCH}', name='torch')
    import torch
    try:
        check_input(path, MAX_PARAMS_BYTES)
        state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # PyTorch's error for a truncated file
            raise ParameterFileError.damaged(path, KIND, 'cut short') from None
        raise ParameterFileError.unreadable(path, error) from None
    except Exception as error:  # of any kind, for files that are damaged or contain more than weights
        raise ParameterFileError.damaged(path, KIND, type(error).__name__) from None
    if not isinstance(state, Mapping) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
            and tensor.device.type == 'cpu' for name, tensor in state.items()):
        raise ParameterFileError(f'{path} holds more than weights: save only module.state_dict()')
    return {name.removeprefix('_orig_mod.'): numbers_of(tensor)  # added by torch.compile
            for name, tensor in state.items()}


def numbers_of(tensor: Any) -> np.ndarray:
    """Return a tensor's numbers; bfloat16, which NumPy lacks, becomes float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if 'bfloat16' in str(tensor.dtype) else tensor).numpy()
