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

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.argument_checks import check_odd
from openatac.nn.atac import ChaATAC
from openatac.nn.squeeze_excite import average_pixels, excitation, scale_channels
from openatac.zoo.unit_arguments import bottleneck, eca_kernel


class ECA(HybridBlock):
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

    def __init__(self, channels: int, gamma: float = 2, b: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel = eca_kernel(channels, gamma, b)
        with self.name_scope():
            self.conv = nn.Conv1D(1, self.kernel, padding=self.kernel // 2, use_bias=False, in_channels=1)

    def hybrid_forward(self, F, x):
        row = F.expand_dims(average_pixels(F, x), axis=1)  # the channels as one line of pixels
        return scale_channels(F, x, F.flatten(F.sigmoid(self.conv(row))))


class CBAM(HybridBlock):
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

    def __init__(self, channels: int, reduction: float = 16, kernel: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_odd('kernel', kernel)
        with self.name_scope():
            self.excite = excitation(channels, reduction)
            self.conv = nn.Conv2D(1, kernel, padding=kernel // 2, use_bias=False, in_channels=2)
            self.bn = nn.BatchNorm(in_channels=1)

    def hybrid_forward(self, F, x):
        pixel_max = F.flatten(F.Pooling(x, pool_type='max', global_pool=True))
        channel_gate = F.sigmoid(self.excite(average_pixels(F, x)) + self.excite(pixel_max))
        refined = scale_channels(F, x, channel_gate)
        # On CPUs MXNet 1.9.1 averages faster over the last axis. F.max would give a gradient to each of
        # several equal maxima; this gives it to only one of them.
        channel_mean = F.expand_dims(F.mean(F.transpose(refined, (0, 2, 3, 1)), axis=3), axis=1)
        channel_max = F.pick(refined, F.argmax(refined, axis=1), axis=1, keepdims=True)
        pixel_gate = F.sigmoid(self.bn(self.conv(F.concat(channel_mean, channel_max, dim=1))))
        return F.broadcast_mul(refined, pixel_gate)


class LocalSEBlock(ChaATAC):
    """LocalSENet's block: ATAC's local channel attention, a gate per pixel, in place of SE.

    Arguments, shapes and errors are as in `openatac.nn.squeeze_excite.SEBlock`. It has 2 C (C/reduction) +
    2 (C/reduction) + 2 C weights.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        bottleneck(channels, reduction, 'reduction')  # an error names reduction, not ATAC's r
        super().__init__(channels, r=reduction, **kwargs)


class NINBlock(HybridBlock):
    """The layers of `LocalSEBlock` as a network in a network: BN(W2 . relu(BN(W1 . x))), without a gate.

    Arguments, shapes and errors are as in `openatac.nn.squeeze_excite.SEBlock`. It has 2 C (C/reduction) +
    2 (C/reduction) + 2 C weights.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = bottleneck(channels, reduction, 'reduction')
        with self.name_scope():
            self.module = nn.HybridSequential(prefix='module')
            self.module.add(nn.Conv2D(inner, kernel_size=1, use_bias=False, in_channels=channels),
                            nn.BatchNorm(in_channels=inner), nn.Activation('relu'),
                            nn.Conv2D(channels, kernel_size=1, use_bias=False, in_channels=inner),
                            nn.BatchNorm(in_channels=channels))

    def hybrid_forward(self, F, x):
        return self.module(x)
