"""The base class of the host networks in Gluon."""
from __future__ import annotations

from typing import Any

from mxnet.gluon.block import HybridBlock

from openatac.models import weights


class HostNetwork(HybridBlock):
    """A network whose `load_parameters` reads parameter files of every kind."""

    def load_parameters(self, filename: Any, ctx: Any = None, **options: Any) -> None:
        """Set all parameters from a file; see `openatac.models.weights.load_parameters`.

        With Gluon's other ``options``, such as ``allow_missing``, Gluon loads the file, which must then be
        one of its own.
        """
        if options:
            super().load_parameters(filename, ctx, **options)
        else:
            weights.load_parameters(self, filename, ctx)
