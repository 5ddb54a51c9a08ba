"""Load the network of a run for inference, in MXNet or, where that is missing, in PyTorch."""
from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from openatac.errors import DeviceError, OpenatacError, UsageError
from openatac.export.runtimes.base import CPU
from openatac.files.export_file_names import SYMBOL_SUFFIX
from openatac.files.run_file_names import BEST
from openatac.library import GLUON, PYTORCH, NetworkFunction
from openatac.system.installed import has_mxnet, has_torch, require_mxnet, require_torch
from openatac.system.threads import thread_count
from openatac.trained.manifest import Manifest
from openatac.trained.network_manifests import run_manifest
from openatac.trained.trained_network import load_run
from openatac.training.networks.build import library_for
from openatac.training.networks.initial_files import read_written_network
from openatac.training.networks.named_options import is_registered_for
from openatac.training.run_folder import RunFolder
from openatac.zoo.weights.parameter_files import read_parameter_file

ENGINES = 'mxnet', 'torch'


class InferenceNetwork(NamedTuple):
    """The network of a run, which maps images, float32 (B, C, H, W), to outputs (B, classes).

    Attributes
    ----------
    function : callable
    manifest : Manifest
    engine : str
        The one of `ENGINES` that runs it.
    """

    function: NetworkFunction
    manifest: Manifest
    engine: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs for the images."""
        return self.function(images)


def load_for_inference(folder: str, params: str | None, engine: str, device: str) -> InferenceNetwork:
    """Load the network of a run for inference.

    Parameters
    ----------
    folder : str
    params : str or None
        A parameter file of the run; None for its best one.
    engine : str
        One of `ENGINES`; 'auto' selects MXNet on the CPU if it can build the network (see `library_for`), and
        PyTorch otherwise.
    device : str
        'cpu', or a GPU by PyTorch's name, 'cuda' or 'cuda:1'.

    Raises
    ------
    UsageError
        For an unknown engine.
    OpenatacError
        If there is no such run, its parameters cannot be read, or the device is missing.
    ModuleNotFoundError
        If the engine is missing.
    """
    if engine == 'auto':
        uses_torch = has_torch() and (device != CPU or library_for(RunFolder(folder).config()) is PYTORCH)
        engine = 'torch' if uses_torch else 'mxnet'
    if engine not in ENGINES:
        raise UsageError(f'engine must be auto, {" or ".join(ENGINES)} for a run, not {engine!r}')
    return (_in_mxnet if engine == 'mxnet' else _in_torch)(folder, params, device)


def _in_mxnet(folder: str, params: str | None, device: str) -> InferenceNetwork:
    require_mxnet()
    from openatac.backends.mxnet.contexts import context_named
    context = context_named(device)
    if context is None:
        raise _no_device('MXNet', device)
    trained = load_run(folder, params, library=GLUON)
    trained.net.collect_params().reset_ctx(context)
    trained.net.hybridize(static_alloc=True, static_shape=True)
    return InferenceNetwork(GLUON.function(trained.net), trained.manifest, 'mxnet')


def _in_torch(folder: str, params: str | None, device: str) -> InferenceNetwork:
    require_torch()
    import torch

    from openatac.export.runtimes.torch_runtime import has_torch_device
    from openatac.pytorch.inference import numpy_function
    if not has_torch_device(device):
        raise _no_device('PyTorch', device)
    torch.set_num_threads(thread_count().threads)
    module, manifest = _torch_module(folder, params)
    net = module.float().eval().to(device, memory_format=torch.channels_last)
    return InferenceNetwork(numpy_function(net, device, torch.channels_last), manifest, 'torch')


def _torch_module(folder: str, params: str | None) -> tuple[Any, Manifest]:
    """Return (the network as a PyTorch module, its manifest).

    Units that are not registered for PyTorch are converted, from the files of --initial or with MXNet.
    """
    run = RunFolder(folder)
    config = run.config()
    params = params or run.file(BEST)
    if is_registered_for('torch', config):
        trained = load_run(folder, params, library=PYTORCH)
        return trained.net, trained.manifest
    from openatac.conversion.networks import to_torch
    if has_mxnet():
        trained = load_run(folder, params, library=GLUON)
        return to_torch(trained.net), trained.manifest
    initial = config.start.initial
    if initial is None or not os.path.isfile(initial + SYMBOL_SUFFIX):
        raise OpenatacError(f'{folder} does not contain the graph of its network: load it where MXNet is '
                            'installed, or load an export of it, or put the files of --initial back')
    name = read_written_network(initial).model
    values = {key: array.astype('float32') for key, array in read_parameter_file(params).items()}
    return to_torch(initial + SYMBOL_SUFFIX, values), run_manifest(name, config)


def _no_device(library: str, device: str) -> DeviceError:
    return DeviceError(f'{library} has no device {device!r} here: choose {CPU!r}')
