"""The runtimes for exports, one class each, in one file per library."""
from openatac.export.runtimes.base import register_runtime
from openatac.export.runtimes.mxnet_runtime import Fused, Imperative, Int8, Static
from openatac.export.runtimes.onnx_runtime import OnnxRuntime, OnnxRuntimeInt8, OpenVino, OpenVinoInt8
from openatac.export.runtimes.torch_runtime import Torch, TorchChannelsLast, TorchCompiled, TorchFrozen

for _runtime in (  # the order in lists and tables
        Imperative, Static, Fused, Int8, OnnxRuntime, OnnxRuntimeInt8, OpenVino, OpenVinoInt8, Torch,
        TorchChannelsLast, TorchCompiled, TorchFrozen):
    register_runtime(_runtime)
