"""The runtimes for exports, one class each, in one file per library."""
from openatac.export.runtimes import mxnet, onnx, torch
from openatac.export.runtimes.base import register_runtime

for _runtime in (  # the order in lists and tables
        mxnet.Imperative, mxnet.Static, mxnet.Fused, mxnet.Int8,
        onnx.OnnxRuntime, onnx.OnnxRuntimeInt8, onnx.OpenVino, onnx.OpenVinoInt8,
        torch.Torch, torch.TorchChannelsLast, torch.TorchCompiled, torch.TorchFrozen):
    register_runtime(_runtime)
