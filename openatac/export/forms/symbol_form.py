"""The symbol form, which Gluon and MXNet's Module API load."""
from __future__ import annotations

from typing import Any

import numpy as np

from openatac.export.forms.base import Form, Load, NetworkToWrite
from openatac.export.parity import (
    HALF_TOLERANCE,
    REORDERED_TOLERANCE,
    SAME_TOLERANCE,
    ParityCheck,
    ParityError,
)
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.graph.nodes import INPUT
from openatac.library import NetworkFunction
from openatac.system.mxnet.settings import fusion_backend
from openatac.trained.manifest import Manifest


class SymbolForm(Form):
    """PREFIX-symbol.json and PREFIX-0000.params, in the precision of the manifest."""

    name = 'symbol'
    suffixes = (SYMBOL_SUFFIX, PARAMS_SUFFIX)
    runtime = 'static'

    def write(self, network: NetworkToWrite, prefix: str) -> None:
        from openatac.export.tracing import trace_half
        from openatac.graph.symbol_files import write_symbol_files
        half = network.manifest.precision == 'float16'
        write_symbol_files(prefix, *(trace_half(network.net) if half else (network.symbol, network.arrays)))

    def tolerance(self, manifest: Manifest) -> float:
        return HALF_TOLERANCE if manifest.precision == 'float16' else SAME_TOLERANCE

    def details(self, network: NetworkToWrite, prefix: str, check: ParityCheck, load: Load) -> dict[str, Any]:
        """Check it in the Module API too, which fuses operators on its own when it binds."""
        if network.manifest.precision == 'float16':
            return {'note': 'for GPUs; compared and timed in float32, with the values of the float16 file'}
        with fusion_backend(None):  # as in programs that do not import openatac
            fused, unfused = (check.difference(_module(prefix, check.random.shape, for_training))
                              for for_training in (False, True))
        if not check.allows(unfused, REORDERED_TOLERANCE):
            raise ParityError("in MXNet's Module API its outputs differ from the network's (by "
                              f'{unfused:g})')
        if check.allows(fused, REORDERED_TOLERANCE):
            return {'module_max_difference': fused}
        return {'module_max_difference': unfused, 'note': (
            'programs that use the Module API without openatac need the environment variable '
            'MXNET_SUBGRAPH_BACKEND=NONE: the operators that MXNet 1.9.1 fuses when it binds this network '
            f'compute different outputs (by {fused:g})')}


def _module(prefix: str, shape: tuple[int, ...], for_training: bool) -> NetworkFunction:
    """Load symbol files in MXNet's Module API, which fuses nothing if it binds for training."""
    import mxnet as mx
    symbol, arguments, auxiliary = mx.model.load_checkpoint(prefix, 0)
    module = mx.mod.Module(symbol, data_names=[INPUT], label_names=None)
    module.bind([(INPUT, shape)], for_training=for_training)
    module.set_params(arguments, auxiliary)

    def function(images: np.ndarray) -> np.ndarray:
        module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
        return module.get_outputs()[0].asnumpy()

    return function
