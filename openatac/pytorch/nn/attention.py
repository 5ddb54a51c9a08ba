"""The attention blocks compared with ATAC.

Each maps a feature map (B, C, H, W) to the same shape and ends a residual branch, before the addition, as in
the papers of SE, GE, ECA and CBAM. `openatac.zoo.units.ATTENTIONS` lists them by name, and
`register_attention` adds one from outside the package.

- Squeeze-and-excitation, gather-excite: in separate files
- ECA: Wang et al., "Efficient Channel Attention", CVPR 2020, https://arxiv.org/abs/1910.03151
- CBAM: Woo, Park, Lee, Kweon, ECCV 2018, https://arxiv.org/abs/1807.06521
- LocalSENet and the NIN style: ablations of Dai et al., "Attention as Activation", section IV,
  https://arxiv.org/abs/2007.07729
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.limits import check_odd
from openatac.pytorch.nn.atac import ATAC
from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.pytorch.nn.squeeze_excite import excitation
from openatac.zoo.unit_arguments import bottleneck, eca_kernel


class ECA(nn.Module):
    """Efficient channel attention, equations 9 and 12: a gate from each channel's k neighbours.

    Maps (B, C, H, W) to the same shape and has k weights.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    gamma, b : float, default 2 and 1
        k is (log2(C) + b) / gamma, rounded down, plus one if that is even.

    Raises
    ------
    ValueError
        If ``gamma`` is not above 0.
    """

    def __init__(self, channels: int, gamma: float = 2, b: float = 1) -> None:
        super().__init__()
        self.kernel = eca_kernel(channels, gamma, b)
        self.conv = nn.Conv1d(1, 1, self.kernel, padding=self.kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        row = x.mean((2, 3))[:, None]  # the channels as one line of pixels
        return x * torch.sigmoid(self.conv(row))[:, 0, :, None, None]


class CBAM(nn.Module):
    """Convolutional block attention, equations 1 to 3: a gate per channel, then one per pixel.

        y = x * sigmoid(W2 . relu(W1 . average of x) + W2 . relu(W1 . maximum of x))
        z = y * sigmoid(BN(k x k convolution of [mean of y, maximum of y] over the channels))

    Maps (B, C, H, W) to the same shape and has 2 C (C/reduction) + 2 k^2 + 2 weights.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    reduction : float, default 16
        W1: C -> C/reduction (rounded down), W2: back, without biases.
    kernel : int, default 7
        Side k of the convolution. It has no bias but, as in the authors' code, a BatchNorm.

    Raises
    ------
    ValueError
        If ``reduction`` leaves no bottleneck, or the kernel is not odd.
    """

    def __init__(self, channels: int, reduction: float = 16, kernel: int = 7) -> None:
        super().__init__()
        check_odd('kernel', kernel)
        self.excite = excitation(channels, reduction)
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = BatchNorm(1)

    def forward(self, x: Tensor) -> Tensor:
        # max, unlike amax, sends its gradient to only one of several equal maxima
        gate = self.excite(x.mean((2, 3))) + self.excite(x.flatten(2).max(2).values)
        x = x * torch.sigmoid(gate)[:, :, None, None]
        planes = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        return x * torch.sigmoid(self.bn(self.conv(planes)))


class LocalSEBlock(ATAC):
    """LocalSENet's block: ATAC's local channel attention, a gate per pixel, in place of SE.

    Arguments, shapes and errors are as in `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16) -> None:
        bottleneck(channels, reduction, 'reduction')
        super().__init__(channels, r=reduction)


class NINBlock(nn.Module):
    """The layers of `LocalSEBlock` as a network in a network: BN(W2 . relu(BN(W1 . x))), without a gate.

    Arguments, shapes and errors are as in `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16) -> None:
        super().__init__()
        inner = bottleneck(channels, reduction, 'reduction')
        self.module = nn.Sequential(
            nn.Conv2d(channels, inner, kernel_size=1, bias=False), BatchNorm(inner), nn.ReLU(),
            nn.Conv2d(inner, channels, kernel_size=1, bias=False), BatchNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)
