"""Common uses of PyTorch modules: copies, layouts, precisions, compilers and exporters."""
import copy
import io
import pickle
import shutil

import numpy as np
import pytest

from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, SELF_ATTENTIONS

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac import pytorch  # noqa: E402  (needs torch)

CHANNELS = 16
UNITS = {**{name: ACTIVATIONS.find(name).torch for name in ACTIVATIONS},
         **{name: ATTENTIONS.find(name).torch for name in ATTENTIONS},
         'aa': SELF_ATTENTIONS.find('aa').spatial.torch, 'fa': SELF_ATTENTIONS.find('fa').spatial.torch}
SOME = ['ChaATAC', 'xunit', 'cbam', 'ge', 'fa']


def unit(name):
    """Return a unit with random values in evaluation mode, and its input."""
    torch.manual_seed(0)
    module = UNITS[name](CHANNELS)
    x = torch.randn(2, CHANNELS, 8, 8)
    module(x)
    return module.eval(), x


@pytest.mark.parametrize('name', UNITS)
def test_copies_compute_the_same(name):
    module, x = unit(name)
    expected = module(x)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)),
                  torch.load(file, weights_only=False)):
        assert torch.equal(again(x), expected)
        assert not {*map(id, again.parameters())} & {*map(id, module.parameters())}


@pytest.mark.parametrize('name', ['ge', 'aa'])
def test_unit_with_inferred_shape_is_copied_before_and_after_inference(name):
    x = torch.randn(2, CHANNELS, 8, 8)
    module = UNITS[name](CHANNELS)
    again = pickle.loads(pickle.dumps(copy.deepcopy(module)))
    assert any(isinstance(parameter, torch.nn.UninitializedParameter) for parameter in again.parameters())
    with torch.inference_mode():
        module(x)
    module(x).sum().backward()
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.eval()(x), module.eval()(x))
    for side in (6, 12):
        with pytest.raises((RuntimeError, ValueError)):
            module(torch.randn(2, CHANNELS, side, side))


@pytest.mark.parametrize('name', UNITS)
def test_units_work_in_channels_last_and_bfloat16(name):
    module, x = unit(name)
    expected = module(x)
    assert torch.allclose(module.to(memory_format=torch.channels_last)(
        x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-5)
    with torch.autocast('cpu', torch.bfloat16):
        y = module.train()(x.requires_grad_())
    y.float().square().mean().backward()
    found = module.eval()(x)
    assert np.isfinite(y.float().detach().numpy()).all() and found.dtype == torch.float32
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@pytest.mark.parametrize('name', SOME)
def test_units_compile(name):
    """The compiler's front end takes the whole unit, also in training; its back end would take minutes."""
    module, x = unit(name)
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend='aot_eager')
    assert torch.allclose(compiled(x), module(x), atol=1e-6)
    for net in (module, compiled):
        net.train()(x).square().sum().backward()
    for ours, theirs in zip(module.parameters(), compiled.parameters()):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-3, rtol=1e-4)
    for ours, theirs in zip(module.buffers(), compiled.buffers()):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.skipif(shutil.which('c++') is None, reason='no C++ compiler')
def test_units_compile_to_machine_code():
    module, x = unit('ChaATAC')
    assert torch.allclose(torch.compile(module, fullgraph=True)(x), module(x), atol=1e-5)


@pytest.mark.parametrize('name', SOME)
def test_units_can_be_exported(name):
    module, x = unit(name)
    program = torch.export.export(module, (x,))
    assert torch.allclose(program.module()(x), module(x), atol=1e-6)
    assert set(program.state_dict) == set(module.state_dict())


@pytest.mark.parametrize('name', [*SOME, 'eca', 'aa', 'frelu'])
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_units_can_be_exported_to_onnx(name, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    module, x = unit(name)
    path = str(tmp_path / 'unit.onnx')
    torch.onnx.export(module, (x,), path, dynamo=False, opset_version=17)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    found, = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(found - module(x).detach().numpy()).max() < 1e-4


@pytest.mark.parametrize('name', ['cifar_resnet8_v2_atac', 'cifar_resnet8_v2_ge'])
def test_whole_network_is_saved_compiled_and_exported(name, tmp_path):
    net = pytorch.get_model(name)
    x = torch.randn(2, 3, 16, 16)
    net(x)
    net.eval()
    torch.save(net, tmp_path / 'net.pt')
    for again in (torch.load(tmp_path / 'net.pt', weights_only=False),
                  torch.compile(net, fullgraph=True, backend='aot_eager'),
                  torch.export.export(net, (x,)).module()):
        assert torch.allclose(again(x), net(x), atol=1e-5)


def test_compiled_statistics_of_bfloat16_images_stay_in_float32():
    """These are the biased variances of MXNet, with which PyTorch's learner trains."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, CHANNELS, 3), pytorch.BatchNorm(CHANNELS))
    pytorch.use_biased_variance(module)
    other = copy.deepcopy(module)
    compiled, x = torch.compile(other, fullgraph=True, backend='aot_eager'), torch.randn(8, 3, 16, 16) + 1
    for net in (module, compiled):
        with torch.autocast('cpu', torch.bfloat16):
            y = net(x)
        y.float().square().sum().backward()
    for name in ('running_mean', 'running_var'):
        ours, theirs = getattr(module[1], name), getattr(other[1], name)
        assert theirs.dtype == torch.float32 and torch.allclose(ours, theirs, rtol=0.01, atol=1e-4)
