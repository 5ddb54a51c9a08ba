"""A trained network exported: all forms made, loaded back, proven equal, and put in place as one set."""
import os

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.export.file_set import replace_set
from openatac.export.fuse import fuse, operators
from openatac.export.manifest import FORMS, form_files, write_description
from openatac.export.parity import HALF, REORDERED, SAME, Disagreement, Proof
from openatac.export.symbol_files import (
    INPUT,
    SYMBOL,
    load_symbol,
    trace,
    trace_half,
    with_kinds,
    write_symbol,
)
from openatac.files.checksums import sha256
from openatac.files.writing import writing
from openatac.runtime.mxnet_settings import fusion_backend
from openatac.version import __version__


def export(net, prefix, description, forms=('symbol',), images=None, calibration=(), mode='entropy'):
    """Write the ``forms`` of a network to the files that begin with ``prefix``; returns its description.

    net : HybridBlock with values, in float32
    description : `Description`; if its precision is 'float16', so is the form 'symbol'
    forms : of `FORMS`
    images : float32 (N, C, H, W), inputs made of real images to compare on, beside random ones
    calibration : list of batches of inputs, float32 (B, C, H, W), on which 'int8' finds its ranges by
        ``mode`` (see `openatac.export.quantize`) and 'onnx-int8' by their extremes

    Each form is loaded back and compared with ``net``; the description that is returned, and written to
    ``prefix.json``, has a report for each. Only then the files take their place, all or none, and those
    of forms that an older export had besides are removed.

    Raises OpenatacError if a form computes other outputs than ``net``, or nothing can be written.
    """
    old = [prefix + '.json'] + [path for form in FORMS for path in form_files(prefix, form)]
    advice = ': choose another place, or make room; what was there is as before'
    with writing(prefix, advice), replace_set(prefix, old, last=prefix + '.json') as aside:
        network = _Network(net, description, images, calibration, mode)
        reports = {form: network.export(form, aside) for form in FORMS if form in forms}
        checksums = {path[len(aside):]: sha256(path) for form in reports for path in form_files(aside, form)}
        description = description._replace(reports=reports, openatac=__version__, sha256=checksums)
        write_description(aside + '.json', description)
    return description


class _Network:
    """A network, what it computes, and how each form is made of it."""

    def __init__(self, net, description, images, calibration, mode):
        self.net, self.description, self.calibration, self.mode = net, description, calibration, mode
        self.context = next(parameter.list_ctx()[0] for parameter in net.collect_params().values())
        try:
            self.proof = Proof(_function(net, self.context), description.image_shape, images)
        except mx.MXNetError as error:
            raise OpenatacError('%s does not take images of %d x %d pixels (%s): choose another input size'
                                % (description.model, *description.image_shape[1:],
                                   _last_line(error))) from None
        self.symbol, self.arrays = trace(net)

    def export(self, form, prefix):
        """Write the files of ``form``, load them back and compare; returns the report."""
        paths = form_files(prefix, form)
        half = form == 'symbol' and self.description.precision == 'float16'
        try:
            write = getattr(self, '_half' if half else '_' + form.replace('-', '_'))
            report = write(paths[0].removesuffix(SYMBOL))
        except mx.MXNetError as error:
            raise OpenatacError('the %s form cannot be made or run (%s)'
                                % (form, _last_line(error))) from None
        except Disagreement as error:
            raise OpenatacError('the %s form is not exported: %s' % (form, error)) from None
        return dict(report, bytes=sum(map(os.path.getsize, paths)))

    def _symbol(self, path):
        write_symbol(path, self.symbol, self.arrays)
        report = self.proof.report(_loaded(path, self.context), SAME)
        return dict(report, **self._by_module(path))

    def _by_module(self, path):
        """What is to be told of the Module API, which of itself fuses operators when it binds."""
        with fusion_backend(None):  # as where openatac is not imported
            fused, unfused = (self.proof.difference(_module(path, self.proof.random.shape, for_training))
                              for for_training in (False, True))
        if not self.proof.allows(unfused, REORDERED):
            raise Disagreement("by MXNet's Module API it computes other outputs than the network (by %g)"
                               % unfused)
        if self.proof.allows(fused, REORDERED):
            return {'module_max_difference': fused}
        return {'module_max_difference': unfused, 'note': (
            'programs that use the Module API without openatac need the environment variable '
            'MXNET_SUBGRAPH_BACKEND=NONE: what MXNet 1.9.1 fuses when it binds this network computes other '
            'outputs (by %g)' % fused)}

    def _half(self, path):
        write_symbol(path, *trace_half(self.net))
        return dict(self.proof.report(_loaded(path, self.context, widen=True), HALF), note=(
            'for GPUs; compared and timed in float32, with the values of the float16 file'))

    def _fused(self, path):
        fused = fuse(self.symbol)
        write_symbol(path, fused, self.arrays)
        before, after = operators(self.symbol), operators(fused)
        return dict(self.proof.report(_loaded(path), REORDERED),
                    operators=[sum(before.values()), sum(after.values())],
                    batch_norms=[before['BatchNorm'], after['BatchNorm']])

    def _int8(self, path):
        from openatac.export.quantize import quantize
        arrays = {key[4:]: array for key, array in self.arrays.items()}
        symbol, arrays = quantize(self.symbol, arrays, self.calibration, self.mode)
        write_symbol(path, symbol, with_kinds(symbol, arrays))
        return self.proof.report(_loaded(path), None)

    def _onnx(self, path):
        from openatac.export.onnx.file import OnnxNetwork, write_model
        write_model(self._onnx_model(), path)
        return self.proof.report(OnnxNetwork(path), REORDERED)

    def _onnx_int8(self, path):
        from openatac.export.onnx.file import OnnxNetwork, write_model
        from openatac.export.onnx.int8 import quantize_onnx
        write_model(quantize_onnx(self._onnx_model(), self.calibration), path)
        return self.proof.report(OnnxNetwork(path), None)

    def _onnx_model(self):
        from openatac.export.onnx.file import to_onnx
        description = self.description._replace(precision='float32')._asdict()
        metadata = {key: value for key, value in description.items()
                    if key not in ('reports', 'openatac', 'sha256')}
        return to_onnx(self.symbol, self.arrays, metadata['image_shape'], metadata['model'], metadata)


def _function(net, context=None):
    """From NumPy images to NumPy outputs."""
    return lambda images: net(mx.nd.array(images, context)).asnumpy()


def _loaded(path, context=None, widen=False):
    """The function of symbol files in Gluon; ``widen`` makes float32 of float16.

    It keeps its memory for the next batch: fused operators would fold their weights for each one anew.
    """
    net = load_symbol(path, context)
    if widen:
        net.cast('float32')
    net.hybridize(static_alloc=True, static_shape=True)
    return _function(net, context)


def _module(path, shape, for_training):
    """The function that MXNet's Module API makes of symbol files; bound for training, it fuses nothing."""
    symbol, arguments, auxiliary = mx.model.load_checkpoint(path, 0)
    module = mx.mod.Module(symbol, data_names=[INPUT], label_names=None)
    module.bind([(INPUT, shape)], for_training=for_training)
    module.set_params(arguments, auxiliary)

    def function(images):
        module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
        return module.get_outputs()[0].asnumpy()

    return function


def _last_line(error):
    return str(error).strip().splitlines()[-1]
