"""What an export can be run by, on the CPU: MXNet in several ways, ONNX Runtime, OpenVINO and PyTorch.

Each engine is a class of its own that maps images, float32 (B, C, H, W), to outputs (B, classes), NumPy
arrays both. To add one, write such a class and give it a name in ENGINES. What an engine needs is loaded
when one is opened, and nothing else is: MXNet and PyTorch bring a team of OpenMP threads each.
"""
import importlib.util
import os
import shutil

from openatac.errors import NO_PYTORCH, OpenatacError
from openatac.export.manifest import form_files, form_of, prefix_of, read_description
from openatac.files.checksums import check_files
from openatac.files.reading import check_input
from openatac.runtime.threads import set_threads, thread_count


class Engine:
    """A network of an export made ready to run. Subclasses say what `load` and `run` do.

    Raises OpenatacError for files that are missing, damaged or do not fit the description.
    """

    form = 'symbol'  # whose files it needs

    @classmethod
    def obstacle(cls, prefix):
        """One sentence why it can't run the export ``prefix``, or None."""
        missing = _missing(prefix, cls.form)
        return missing and '%s is missing: export the form %r too' % (missing, cls.form)

    def __init__(self, prefix, description):
        self._prefix, self._description = prefix, description
        with _sentences(self, 'be loaded'):
            self.load(prefix, description)

    def __call__(self, images):
        """Outputs (B, classes) of images (B, C, H, W); OpenatacError if they are of another shape."""
        wanted, found = self._description.image_shape, images.shape[1:]
        if found != wanted:
            raise OpenatacError('%s takes images of shape %s, and these have %s: make them fit'
                                % (self._prefix, wanted, found))
        with _sentences(self, 'run on images of %d x %d pixels' % wanted[1:]):
            outputs = self.run(images)
        if outputs.shape != (len(images), self._description.classes):
            raise OpenatacError('%s has outputs of shape %s, and its description tells of %d classes: export '
                                'again' % (self._prefix, outputs.shape[1:], self._description.classes))
        return outputs

    def load(self, prefix, description):
        """Read the files."""
        raise NotImplementedError

    def run(self, images):
        """The outputs of images of the right shape."""
        raise NotImplementedError


def _missing(prefix, form):
    """The first missing file of a form, or None."""
    return next((path for path in form_files(prefix, form) if not os.path.isfile(path)), None)


class _sentences:
    """Within it any failure of an engine becomes an OpenatacError: they have no kind of error in common."""

    def __init__(self, engine, what):
        self._engine, self._what = engine, what

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _):
        if kind is None or issubclass(kind, (OpenatacError, ImportError)) or not issubclass(kind, Exception):
            return
        lines = str(error).strip().splitlines() or [kind.__name__]
        raise OpenatacError('%s cannot %s by the engine %s (%s): export again' % (
            self._engine._prefix, self._what, self._engine.name, lines[-1])) from None


# ----------------------------------------------------------------------------------- MXNet

class Imperative(Engine):
    """The graph operator by operator, with memory taken as it goes."""

    settings = {}

    def load(self, prefix, description):
        from openatac.export.symbol_files import load_symbol
        self._net = load_symbol(prefix if self.form == 'symbol' else '%s-%s' % (prefix, self.form),
                                image_shape=description.image_shape)
        self._prepare(description)

    def _prepare(self, description):
        if description.precision == 'float16':
            self._net.cast('float32')  # no CPU computes in float16
        if self.settings:
            self._net.hybridize(**self.settings)

    def run(self, images):
        import mxnet as mx
        return self._net(mx.nd.array(images)).asnumpy()


class Static(Imperative):
    """Hybridized, with all memory planned and taken before."""

    settings = {'static_alloc': True, 'static_shape': True}


class Int8(Static):
    """The quantized form."""

    form = 'int8'


class Fused(Static):
    """With oneDNN's fused operators: the fused form or, where that is missing, made of the symbol form."""

    form = 'fused'

    @classmethod
    def obstacle(cls, prefix):
        return _missing(prefix, 'fused') and Static.obstacle(prefix)

    def load(self, prefix, description):
        if not _missing(prefix, 'fused'):
            return super().load(prefix, description)
        import mxnet as mx

        from openatac.export.fuse import fuse
        from openatac.export.symbol_files import INPUT, read_symbol
        from openatac.graph.symbol import check_sizes
        symbol, arrays = read_symbol(prefix)
        check_sizes(symbol, description.image_shape)
        self._net = mx.gluon.SymbolBlock(fuse(symbol), mx.sym.var(INPUT, dtype='float32'))
        for name, parameter in self._net.collect_params().items():
            array = arrays['arg:' + name] if 'arg:' + name in arrays else arrays['aux:' + name]
            parameter.shape, parameter.dtype = array.shape, array.dtype
            parameter.initialize(ctx=mx.cpu())
            parameter.set_data(array)
        self._prepare(description)


# ---------------------------------------------------------------------------- ONNX Runtime

class OnnxRuntime(Engine):
    """The ONNX file in ONNX Runtime, with as many threads as MXNet."""

    form = 'onnx'

    @classmethod
    def obstacle(cls, prefix):
        if importlib.util.find_spec('onnxruntime') is None:
            return "ONNX Runtime is not installed: run pip install 'openatac[onnx]'"
        return super().obstacle(prefix)

    def load(self, prefix, description):
        set_threads()
        from openatac.export.onnx.file import OnnxNetwork
        self.run = OnnxNetwork(*form_files(prefix, self.form))


class OnnxRuntimeInt8(OnnxRuntime):
    """The quantized ONNX file."""

    form = 'onnx-int8'


# -------------------------------------------------------------------------------- OpenVINO

class OpenVino(Engine):
    """The ONNX file in OpenVINO, with as many threads as MXNet."""

    form = 'onnx'

    @classmethod
    def obstacle(cls, prefix):
        if importlib.util.find_spec('openvino') is None:
            return "OpenVINO is not installed: run pip install 'openatac[openvino]'"
        return super().obstacle(prefix)

    def load(self, prefix, description):
        import openvino
        path, = form_files(prefix, self.form)
        check_input(path)
        check_files(prefix, [path])
        self._net = openvino.Core().compile_model(path, 'CPU', {
            'INFERENCE_NUM_THREADS': int(thread_count()[0]),
            'INFERENCE_PRECISION_HINT': 'f32'})  # which is bfloat16 where the processor has it

    def run(self, images):
        return self._net(images)[0]


class OpenVinoInt8(OpenVino):
    """The quantized ONNX file."""

    form = 'onnx-int8'


# --------------------------------------------------------------------------------- PyTorch

class Torch(Engine):
    """The symbol form as a PyTorch module, eager."""

    @classmethod
    def obstacle(cls, prefix):
        if importlib.util.find_spec('torch') is None:
            return NO_PYTORCH
        return super().obstacle(prefix)

    def load(self, prefix, description):
        import torch

        from openatac.backends.torch.graph import to_torch
        torch.set_num_threads(int(thread_count()[0]))
        self._torch = torch
        self._net = self._prepared(to_torch(prefix + '-symbol.json').float().eval())

    def _prepared(self, net):
        return net

    def _to_torch(self, images):
        return self._torch.from_numpy(images)

    def run(self, images):
        with self._torch.inference_mode():
            return self._net(self._to_torch(images)).numpy()


class TorchChannelsLast(Torch):
    """Eager, with the channels of a pixel side by side in memory, which suits some convolutions better."""

    def _prepared(self, net):
        return net.to(memory_format=self._torch.channels_last)

    def _to_torch(self, images):
        return super()._to_torch(images).contiguous(memory_format=self._torch.channels_last)


class TorchCompiled(Torch):
    """By torch.compile, for the very sizes of the batches; the first batch of each size takes long."""

    options = {}

    @classmethod
    def obstacle(cls, prefix):
        compilers = [os.environ.get('CXX'), 'g++', 'clang++']
        if not any(compiler and shutil.which(compiler) for compiler in compilers):
            return 'torch.compile needs a C++ compiler: install g++, or name yours in the variable CXX'
        return super().obstacle(prefix)

    def _prepared(self, net):
        return self._torch.compile(net, dynamic=False, options=self.options)


class TorchFrozen(TorchCompiled):
    """By torch.compile with the weights as constants: BatchNorms folded, weights laid out in advance."""

    options = {'freezing': True}


# ----------------------------------------------------------------------------------- names

ENGINES = {
    'imperative': Imperative, 'static': Static, 'fused': Fused, 'int8': Int8, 'onnxruntime': OnnxRuntime,
    'onnxruntime-int8': OnnxRuntimeInt8, 'openvino': OpenVino, 'openvino-int8': OpenVinoInt8,
    'torch': Torch, 'torch-channels-last': TorchChannelsLast, 'torch-compiled': TorchCompiled,
    'torch-frozen': TorchFrozen}
_OF_FORM = {None: 'static', 'symbol': 'static', 'fused': 'fused', 'int8': 'int8', 'onnx': 'onnxruntime',
            'onnx-int8': 'onnxruntime-int8'}
for _name, _engine in ENGINES.items():
    _engine.name = _name


def engines_of(prefix):
    """The names of the engines that can run the export, in the order of ENGINES."""
    return [name for name, engine in ENGINES.items() if engine.obstacle(prefix) is None]


def engine_of(form):
    """The name of the engine for a form of an export, or None."""
    return _OF_FORM[form]


def engine_for(path):
    """The name of the engine for an export's file; for a PREFIX it is 'static' or the first that can run."""
    name, prefix = engine_of(form_of(path)), prefix_of(path)
    able = engines_of(prefix)
    return name if name in able or form_of(path) or not able else able[0]


def open_engine(prefix, name):
    """The export ``prefix`` in the engine called ``name``; OpenatacError if it can't be run by that."""
    description = read_description(prefix)
    obstacle = ENGINES[name].obstacle(prefix)
    if obstacle:
        raise OpenatacError('%s cannot be run by the engine %s, since %s' % (prefix, name, obstacle))
    return ENGINES[name](prefix, description)
