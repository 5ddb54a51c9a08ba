"""The networks of torchvision and timm, even if torchvision was built for another PyTorch."""
import contextlib
import importlib

import pytest


def build(name):
    """Build 'torchvision NAME' or 'timm NAME' with random weights and 10 classes; skip if not installed."""
    library, name = name.split()
    with contextlib.suppress(ImportError):
        _import_torchvision()
    if library == 'timm':
        return pytest.importorskip('timm').create_model(name, num_classes=10)
    return getattr(pytest.importorskip('torchvision').models, name)(num_classes=10)


def _import_torchvision():
    try:
        importlib.import_module('torchvision')
    except RuntimeError:  # a build for another PyTorch lacks its own operators, which no network uses
        import torch
        for operator in ('nms', 'qnms'):
            torch.library.define(f'torchvision::{operator}',
                                 '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        importlib.import_module('torchvision')
