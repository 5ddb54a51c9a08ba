"""Runtimes that run symbol files in MXNet, in several ways."""
from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np

from openatac.backends.mxnet.contexts import context_named
from openatac.export.forms.base import Form
from openatac.export.forms.fused_form import FusedForm
from openatac.export.forms.int8_form import Int8Form
from openatac.export.forms.symbol_form import SymbolForm
from openatac.export.runtimes.base import CPU, Runtime
from openatac.files.export_file_names import SYMBOL_SUFFIX
from openatac.library import GLUON, NetworkFunction
from openatac.system.installed import has_mxnet, mxnet_missing


class Imperative(Runtime):
    """Runs the graph operator by operator, allocating memory for each."""

    name = 'imperative'
    package = 'mxnet'
    form: Form = SymbolForm()
    settings: ClassVar[dict[str, bool]] = {}  # for hybridize
    runs_on_gpus: ClassVar[bool] = True
    _function: NetworkFunction

    @classmethod
    def obstacle(cls, prefix: str) -> str | None:
        return super().obstacle(prefix) if has_mxnet() else mxnet_missing()

    @classmethod
    def has_device(cls, device: str) -> bool:
        return device == CPU or (cls.runs_on_gpus and context_named(device) is not None)

    def load(self) -> None:
        from openatac.export.exported_symbol import load_block
        files = self.form.files(self.prefix)[0].removesuffix(SYMBOL_SUFFIX)
        self._prepare(load_block(files, image_shape=self.manifest.image_shape))

    def _prepare(self, net: Any) -> None:
        if self.manifest.precision == 'float16':
            net.cast('float32')  # CPUs do not compute in float16
        if self.settings:
            net.hybridize(**self.settings)
        net.collect_params().reset_ctx(context_named(self.device))
        self._function = GLUON.function(net)

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._function(images)


class Static(Imperative):
    """Runs the hybridized graph, with all memory planned and allocated in advance."""

    name = 'static'
    settings: ClassVar = {'static_alloc': True, 'static_shape': True}


class Int8(Static):
    """Runs the quantized form."""

    name = 'int8'
    form = Int8Form()
    runs_on_gpus = False


class Fused(Static):
    """Runs oneDNN's fused operators: the fused form, or the symbol form, fused on loading."""

    name = 'fused'
    form = FusedForm()
    runs_on_gpus = False

    @classmethod
    def obstacle(cls, prefix: str) -> str | None:
        return Static.obstacle(prefix) if super().obstacle(prefix) else None

    def load(self) -> None:
        if not self.form.missing(self.prefix):
            super().load()
            return
        from openatac.export.exported_symbol import read_exported_files
        from openatac.graph.fusion import NothingToFuseError, fuse
        from openatac.graph.symbol_block import symbol_block
        from openatac.graph.tensor_sizes import check_takes_images
        symbol, arrays = read_exported_files(self.prefix)
        check_takes_images(symbol, self.manifest.image_shape)
        with contextlib.suppress(NothingToFuseError):  # without BatchNorms, it runs as `Static` does
            symbol = fuse(symbol)
        self._prepare(symbol_block(symbol, arrays))
