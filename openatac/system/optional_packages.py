"""The optional packages: what each is for, and the extra of openatac that installs it."""
from __future__ import annotations

from typing import NamedTuple


class OptionalPackage(NamedTuple):
    """The purpose of a package that openatac can do without, and the extra that brings it."""

    purpose: str
    extra: str


OPTIONAL_PACKAGES = {
    'scikit-learn': OptionalPackage('the handwritten digits', 'demo'),
    'matplotlib': OptionalPackage('figures', 'demo'),
    'tensorboardX': OptionalPackage('TensorBoard files', 'tensorboard'),
    'wandb': OptionalPackage('Weights & Biases', 'wandb'),
    'onnx': OptionalPackage('ONNX files', 'onnx'),
    'onnxruntime': OptionalPackage('running ONNX files', 'onnx'),
    'openvino': OptionalPackage('running them in OpenVINO', 'openvino'),
    'pyarrow': OptionalPackage('CIFAR in parquet files', 'parquet'),
    'torch': OptionalPackage('the networks in PyTorch', 'torch'),
    'fastapi': OptionalPackage('openatac serve', 'serve'),
    'uvicorn': OptionalPackage('openatac serve', 'serve'),
    'argcomplete': OptionalPackage('completion in a shell', 'completion'),
}


def pip_install(package: str) -> str:
    """Return the command that installs an optional package, by its extra."""
    return f"pip install 'openatac[{OPTIONAL_PACKAGES[package].extra}]'"
