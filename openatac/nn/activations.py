"""The activations that do not have a separate file.

Each maps (B, C, H, W) to the same shape. `openatac.zoo.units.ACTIVATIONS` lists them all by name, and
`register_activation` adds one from outside the package.

relu, prelu, elu, selu, gelu and swish are as in Gluon, except for the gradient of prelu (see `PReLU`).
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.argument_checks import check_number


class PReLU(nn.PReLU):
    """max(0, x) - alpha * max(0, -x) with one learned slope alpha, initially 0.25.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, https://arxiv.org/abs/1502.01852,
    equation 1.

    Between layers of a hybridized network, MXNet 1.9.1 computes Gluon's own PReLU in place, and then takes
    the gradient of alpha from the output instead of the input: it is too small by the factor alpha. Written
    as two ReLUs, the unit gets the correct gradient, with the same parameter and values.
    """

    def hybrid_forward(self, F, x, alpha):
        slope = F.reshape(alpha, shape=(1, -1, 1, 1))
        return F.relu(x) - F.broadcast_mul(slope, F.relu(-x))


class Mish(HybridBlock):
    """x * tanh(log(1 + exp(x))) (Misra, 2019, https://arxiv.org/abs/1908.08681, equation 1)."""

    def hybrid_forward(self, F, x):
        return x * F.tanh(F.Activation(x, act_type='softrelu'))


class Sine(HybridBlock):
    """sin(w0 x), the activation of SIREN (Sitzmann et al., 2020, https://arxiv.org/abs/2006.09661).

    Parameters
    ----------
    w0 : float, default 1
        The frequency. The paper's 30 spreads a first layer that sees coordinates over many periods; its
        section 3.2 then draws the weights so that every later sine gets a standard normal input. After a
        BatchNorm the input is already standard normal, so 1 gives the same unit there.

    Raises
    ------
    ValueError
        If ``w0`` is not above 0.
    """

    def __init__(self, w0: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number('w0', w0, 'the frequency of the sine', above=0)
        self._w0 = w0

    def hybrid_forward(self, F, x):
        return F.sin(self._w0 * x)


# ------------------------------------------------------------------------ built from ``channels``

def relu(channels: int) -> HybridBlock:
    """Build max(0, x)."""
    return nn.Activation('relu')


def prelu(channels: int) -> HybridBlock:
    """Build `PReLU`."""
    return PReLU()


def elu(channels: int) -> HybridBlock:
    """Build Gluon's ELU."""
    return nn.ELU()


def selu(channels: int) -> HybridBlock:
    """Build Gluon's SELU."""
    return nn.SELU()


def gelu(channels: int) -> HybridBlock:
    """Build Gluon's GELU."""
    return nn.GELU()


def swish(channels: int) -> HybridBlock:
    """Build Gluon's Swish."""
    return nn.Swish()


def mish(channels: int) -> HybridBlock:
    """Build `Mish`."""
    return Mish()


def sine(channels: int, w0: float = 1) -> HybridBlock:
    """Build `Sine`."""
    return Sine(w0)
