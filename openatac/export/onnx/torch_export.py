"""Convert PyTorch networks to ONNX with PyTorch's own exporter, for machines without MXNet.

The input, output, opset and metadata of the files are as in `openatac.export.onnx.gluon_export`; the graph
differs.
"""
from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from openatac.errors import OpenatacError, first_line
from openatac.export.onnx.files import IR_VERSION, OPSET, import_onnx_package, set_metadata
from openatac.export.onnx.graph import OUTPUT
from openatac.graph.nodes import INPUT, SymbolicShape
from openatac.version import __version__


def module_to_onnx(net: torch.nn.Module, image_shape: SymbolicShape, metadata: Mapping[str, Any],
                   dynamic_size: bool) -> Any:
    """Convert a network in evaluation mode to an onnx.ModelProto.

    For the other parameters and the errors, see `openatac.export.onnx.gluon_export.to_onnx`.
    """
    onnx = import_onnx_package('onnx')
    axes = {0: 'N', **({2: 'H', 3: 'W'} if dynamic_size else {})}
    file: Any = io.BytesIO()  # PyTorch declares a path, and takes either
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about a newer exporter, and shapes that become constants
        try:
            torch.onnx.export(net, (torch.zeros(1, *image_shape),), file, dynamo=False, opset_version=OPSET,
                              input_names=[INPUT], output_names=[OUTPUT],
                              dynamic_axes={INPUT: axes, OUTPUT: {0: 'N'}})
        except RuntimeError as error:  # of all kinds
            raise OpenatacError(f'PyTorch cannot convert the network to ONNX ({first_line(error)})') from None
    model = onnx.load_from_string(file.getvalue())
    model.ir_version = IR_VERSION
    model.producer_name = 'openatac'
    model.producer_version = __version__
    set_metadata(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
