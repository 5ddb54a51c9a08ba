"""xUnit: a spatial activation.

Kligvasser, Rott Shaham, Michaeli, "xUnit: Learning a Spatial Activation Function for Efficient
Image Restoration", CVPR 2018, https://arxiv.org/abs/1711.06445, section 3 and its figure of the unit:

    xUnit(x) = x * exp(-d^2),    d = BN(9x9 depthwise convolution of relu(BN(x)))

The order and the size of the kernel are also those of the authors' first published code (their later
code puts a sigmoid in the Gaussian's place). Deviates from it in one thing: the convolution has no
bias, which a BatchNorm behind it would take away again.
"""
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock


class XUnit(HybridBlock):
    """Gate from 0 to 1 at every pixel of every channel, from that channel's 9x9 surroundings.

    channels : int
        C, the channels of the input.
    kernel : int, default 9
        Side of the depthwise filters, k.

    Shapes: (B, C, H, W) to the same. Parameters: k^2 C weights, 2 C gammas, 2 C betas.
    Raises ValueError for a kernel that has no middle.
    """

    def __init__(self, channels, kernel=9, **kwargs):
        super().__init__(**kwargs)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError('kernel must be an odd number from 1, not %r' % (kernel,))
        with self.name_scope():
            self.bn1 = nn.BatchNorm(in_channels=channels)
            self.conv = nn.Conv2D(channels, kernel_size=kernel, padding=kernel // 2, groups=channels,
                                  use_bias=False, in_channels=channels)
            self.bn2 = nn.BatchNorm(in_channels=channels)

    def hybrid_forward(self, F, x):
        d = self.bn2(self.conv(F.relu(self.bn1(x))))
        return x * F.exp(-F.square(d))
