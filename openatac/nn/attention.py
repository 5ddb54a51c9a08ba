"""The attention blocks that ATAC is compared with, by name.

Each maps a feature map (B, C, H, W) to the same shape and ends a residual branch, before the addition, as in
the papers of SE, GE, ECA and CBAM. `register_attention` adds one from outside the package.

- Squeeze-and-excitation: Hu, Shen, Sun, CVPR 2018, https://arxiv.org/abs/1709.01507
- Gather-excite: Hu, Shen, Albanie, Sun, Vedaldi, NeurIPS 2018, https://arxiv.org/abs/1810.12348
- ECA: Wang et al., "Efficient Channel Attention", CVPR 2020, https://arxiv.org/abs/1910.03151
- CBAM: Woo, Park, Lee, Kweon, ECCV 2018, https://arxiv.org/abs/1807.06521
- LocalSENet and the NIN style: ablations of Dai et al., "Attention as Activation", section IV,
  https://arxiv.org/abs/2007.07729
"""
from __future__ import annotations

import math
from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.limits import MAX_CHANNELS, check_number, check_odd, check_whole
from openatac.nn.atac import ChaATAC
from openatac.registry import Factory, Registry


def average_pixels(F, x):
    """Average x (B, C, H, W) over the pixels, to (B, C)."""
    return F.flatten(F.Pooling(x, pool_type='avg', global_pool=True))


def scale_channels(F, x, gate):
    """Multiply x (B, C, H, W) by gate (B, C) or (B, C, 1, 1), the same for all pixels."""
    return F.broadcast_mul(x, F.reshape(gate, (0, 0, 1, 1)))


class SEBlock(HybridBlock):
    """Squeeze-and-excitation, equations 2 to 4: x * sigmoid(W2 . relu(W1 . average of x)).

    Maps (B, C, H, W) to the same shape and has 2 C (C/reduction) weights.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    reduction : float, default 16
        W1: C -> C/reduction (rounded down), W2: back. No biases, as in GluonCV's SE networks.

    Raises
    ------
    ValueError
        If ``reduction`` leaves no bottleneck.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.excite = _excite(channels, reduction)

    def hybrid_forward(self, F, x):
        return scale_channels(F, x, F.sigmoid(self.excite(average_pixels(F, x))))


class GatherExcite(HybridBlock):
    """Gather-excite, section 3: x * sigmoid(interpolated(excited(gathered x))).

    Maps (B, C, H, W) to the same shape; the interpolation is to the nearest pixel. With extent 0, the filter
    takes the size of the first image that it sees, and all images must have that size. Weights with extent 0:
    'theta' H W C + 2 C, 'theta+' 2 C (C/reduction) more; else 'theta' log2(extent) (9 C + 2 C).

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    extent : int, default 0
        Side of the neighbourhoods that are gathered, in pixels, a power of two; 0 is the whole image.
    variant : 'theta-', 'theta' or 'theta+', default 'theta+'
        What is learned. 'theta-': nothing, the gathering is an average over windows of
        2 * extent - 1 pixels. 'theta': a depthwise gathering, one filter as large as the image for
        extent 0, else log2(extent) 3x3 convolutions of stride 2, each with a BatchNorm, and ReLUs
        between them. 'theta+': 'theta', then squeeze-and-excitation's two layers.
    reduction : float, default 16
        Channel reduction ratio of the two layers of 'theta+'.

    Raises
    ------
    ValueError
        If the variant is unknown, the extent is not a power of two, or ``reduction`` leaves no bottleneck.
    """

    VARIANTS = ('theta-', 'theta', 'theta+')

    def __init__(self, channels: int, extent: int = 0, variant: str = 'theta+', reduction: float = 16,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if variant not in self.VARIANTS:
            raise ValueError(f'variant must be one of {", ".join(self.VARIANTS)}, not {variant!r}')
        if extent not in [0] + [2 ** n for n in range(1, 11)]:
            raise ValueError('extent must be 0 (the whole image) or a power of two from 2 to 1024, not '
                             f'{extent!r}')
        self._extent = extent
        with self.name_scope():
            self.gather = _windows(extent) if variant == 'theta-' else _depthwise(channels, extent)
            self.excite = _excite(channels, reduction, pixels=extent > 0) if variant == 'theta+' else None

    def hybrid_forward(self, F, x):
        gate = average_pixels(F, x) if self.gather is None else self.gather(x)
        if self.excite is not None:
            gate = self.excite(gate)
        gate = F.sigmoid(gate)
        if not self._extent:
            return scale_channels(F, x, gate)
        # Sides not divisible by the extent are gathered up to the next multiple.
        return x * F.slice_like(F.UpSampling(gate, scale=self._extent, sample_type='nearest'), x, axes=(2, 3))


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
        check_number('gamma', gamma, above=0)
        k = int(abs((math.log2(channels) + b) / gamma))
        self.kernel = k if k % 2 else k + 1
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
        If ``reduction`` leaves no bottleneck, or the kernel has no middle.
    """

    def __init__(self, channels: int, reduction: float = 16, kernel: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_odd('kernel', kernel)
        with self.name_scope():
            self.excite = _excite(channels, reduction)
            self.conv = nn.Conv2D(1, kernel, padding=kernel // 2, use_bias=False, in_channels=2)
            self.bn = nn.BatchNorm(in_channels=1)

    def hybrid_forward(self, F, x):
        largest = F.flatten(F.Pooling(x, pool_type='max', global_pool=True))
        x = scale_channels(F, x, F.sigmoid(self.excite(average_pixels(F, x)) + self.excite(largest)))
        # On CPUs MXNet 1.9.1 averages faster over a last axis. F.max would give each of several equal values
        # a gradient; this gives one to a single value.
        mean = F.expand_dims(F.mean(F.transpose(x, (0, 2, 3, 1)), axis=3), axis=1)
        largest = F.pick(x, F.argmax(x, axis=1), axis=1, keepdims=True)
        return F.broadcast_mul(x, F.sigmoid(self.bn(self.conv(F.concat(mean, largest, dim=1)))))


class LocalSEBlock(ChaATAC):
    """LocalSENet's block: ATAC's local channel attention, a gate per pixel, in place of SE.

    Arguments, shapes and errors are those of `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        _inner_channels(channels, reduction)
        super().__init__(channels, r=reduction, **kwargs)


class NINBlock(HybridBlock):
    """The layers of `LocalSEBlock` as a network in a network: BN(W2 . relu(BN(W1 . x))), without a gate.

    Arguments, shapes and errors are those of `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = _inner_channels(channels, reduction)
        with self.name_scope():
            self.module = nn.HybridSequential(prefix='module')
            self.module.add(nn.Conv2D(inner, kernel_size=1, use_bias=False, in_channels=channels),
                            nn.BatchNorm(in_channels=inner), nn.Activation('relu'),
                            nn.Conv2D(channels, kernel_size=1, use_bias=False, in_channels=inner),
                            nn.BatchNorm(in_channels=channels))

    def hybrid_forward(self, F, x):
        return self.module(x)


class _GlobalDepthwise(HybridBlock):
    """One filter as large as the image for each channel, (B, C, H, W) to (B, C, 1, 1).

    A convolution would have to know that size; this weight, shaped like the convolution's, takes it from the
    first image.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=(channels, 1, 0, 0), allow_deferred_init=True)

    def hybrid_forward(self, F, x, weight):
        one_image = F.reshape(F.slice_axis(x, axis=0, begin=0, end=1), (-1, 1, 0, 0))
        weight = F.elemwise_add(weight, F.zeros_like(one_image))  # determines the weight's shape
        products = F.broadcast_mul(x, F.transpose(weight, (1, 0, 2, 3)))
        return F.Pooling(products, pool_type='sum', global_pool=True)


def _inner_channels(channels: int, reduction: float) -> int:
    check_whole('channels', channels, 1, MAX_CHANNELS)
    check_number('reduction (the channel reduction ratio)', reduction, above=0)
    inner = int(channels // reduction)
    if inner < 1:
        raise ValueError(f'reduction={reduction!r} leaves no bottleneck in a block of {channels} channels: '
                         f'choose it from 1 to {channels}')
    return inner


def _excite(channels: int, reduction: float, pixels: bool = False) -> nn.HybridSequential:
    """Return W2 . relu(W1 . x) of each image, (B, C) or (B, C, 1, 1), or of each pixel, (B, C, H, W)."""
    inner = _inner_channels(channels, reduction)
    layers = nn.HybridSequential(prefix='excite_')
    with layers.name_scope():
        if pixels:
            layers.add(nn.Conv2D(inner, kernel_size=1, use_bias=False, in_channels=channels),
                       nn.Activation('relu'),
                       nn.Conv2D(channels, kernel_size=1, use_bias=False, in_channels=inner))
        else:
            layers.add(nn.Dense(inner, use_bias=False, in_units=channels), nn.Activation('relu'),
                       nn.Dense(channels, use_bias=False, in_units=inner))
    return layers


def _windows(extent: int) -> nn.AvgPool2D | None:
    """Build the average over the window around each extent-th pixel; None for the whole image."""
    if not extent:
        return None
    return nn.AvgPool2D(pool_size=2 * extent - 1, strides=extent, padding=extent - 1, count_include_pad=False)


def _depthwise(channels: int, extent: int) -> nn.HybridSequential:
    layers = nn.HybridSequential(prefix='gather_')
    with layers.name_scope():
        if not extent:
            layers.add(_GlobalDepthwise(channels), nn.BatchNorm(in_channels=channels))
        for step in range(int(math.log2(extent)) if extent else 0):
            if step:
                layers.add(nn.Activation('relu'))
            layers.add(nn.Conv2D(channels, kernel_size=3, strides=2, padding=1, groups=channels,
                                 use_bias=False, in_channels=channels),
                       nn.BatchNorm(in_channels=channels))
    return layers


ATTENTIONS: Registry[Factory] = Registry('attention')
ATTENTIONS.register('se', SEBlock)
ATTENTIONS.register('ge', GatherExcite)
ATTENTIONS.register('ge_theta', lambda channels, extent=0: GatherExcite(channels, extent, 'theta'))
ATTENTIONS.register('ge_theta_minus', lambda channels, extent=0: GatherExcite(channels, extent, 'theta-'))
ATTENTIONS.register('eca', ECA)
ATTENTIONS.register('cbam', CBAM)
ATTENTIONS.register('lca', LocalSEBlock)
ATTENTIONS.register('nin', NINBlock)
