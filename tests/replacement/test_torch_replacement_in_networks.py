"""ATAC in torchvision's and timm's networks, and one of them learns on real images."""
import numpy as np
import pytest

from openatac import replace_activations
from tests.helpers.images.cifar_slice import decode
from tests.helpers.networks.torch_networks import build

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

SIDE = 64
NETWORKS = {  # number of replaced activations, and one of them
    'torchvision resnet18': (17, 'layer4.1.relu.1'),
    'torchvision densenet121': (120, 'features.denseblock1.denselayer2.relu1'),  # not the one inside forward
    'torchvision mobilenet_v2': (35, 'features.2.conv.1.2'),
    'torchvision mobilenet_v3_small': (23, 'features.2.block.0.2'),
    'torchvision efficientnet_b0': (33, 'features.2.0.block.1.2'),
    'torchvision squeezenet1_1': (26, 'features.3.expand3x3_activation'),
    'torchvision shufflenet_v2_x0_5': (37, 'stage2.0.branch2.7'),
    'torchvision mnasnet0_5': (35, 'layers.8.0.layers.2'),
    'torchvision regnet_y_400mf': (49, 'trunk_output.block1.block1-0.activation'),
    'timm resnet18': (17, 'layer1.0.act1'),
    'timm seresnet18': (17, 'layer1.0.act2'),
    'timm efficientnet_lite0': (33, 'blocks.0.0.bn1.act'),
    'timm regnetx_002': (40, 's1.b1.conv1.bn.act'),
    'timm dla34': (33, 'level2.tree1.relu.0'),
    'timm hrnet_w18_small': (75, 'layer1.0.act1'),
    'timm ghostnet_050': (34, 'blocks.0.0.ghost1.primary_conv.2'),
    'timm convnext_atto': (12, 'stages.0.blocks.0.mlp.act'),
}


def replaced(name):
    torch.manual_seed(0)
    net = build(name)
    return net, replace_activations(net, 'atac', where=lambda name: not name.endswith('forward'),
                                    image_shape=(3, SIDE, SIDE))


@pytest.mark.parametrize('name', NETWORKS)
def test_network_gets_atac_and_is_otherwise_unchanged(name):
    torch.manual_seed(0)
    before = build(name).state_dict()
    net, names = replaced(name)
    assert (len(names), NETWORKS[name][1] in names) == (NETWORKS[name][0], True)
    after = net.state_dict()
    assert [key for key in after if key in before] == list(before)
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    assert {key for key in after if key not in before} == {
        f'{unit}.{key}' for unit in names for key in net.get_submodule(unit).state_dict()}
    logits = net.train()(torch.randn(2, 3, SIDE, SIDE))
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_network_with_replaced_activations_compiles():
    net, _ = replaced('torchvision resnet18')
    x = torch.randn(2, 3, SIDE, SIDE)
    compiled = torch.compile(net.eval(), fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        assert torch.allclose(compiled(x), net(x), atol=1e-5)


@pytest.mark.filterwarnings('ignore:The default weight init')
def test_functional_activations_are_named():
    with pytest.raises(ValueError, match=r'conv1\.forward .*BasicConv2d.* relu'):
        replace_activations(build('torchvision googlenet'), 'atac', image_shape=(3, SIDE, SIDE))


def test_resnet18_with_atac_learns_on_real_images(shared_data):
    """Within seconds, it tells ships from frogs far better than by chance."""
    with np.load(shared_data / 'cifar10_jpeg.npz') as archive:
        records = [decode(archive, split, count) for split, count in (('train', 2000), ('test', 800))]
    (images, labels), (unseen, answers) = map(two_classes, records)
    net, _ = replaced('torchvision resnet18')
    optimizer = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (net.eval()(unseen).argmax(1) == answers).float().mean().item()
    assert accuracy > 0.75, accuracy


def two_classes(records, frog=6, ship=8):
    """Return (images, labels 0 and 1) from CIFAR-10 records."""
    records = records[np.isin(records[:, 0], (frog, ship))]
    images = torch.tensor(records[:, 1:].reshape(-1, 3, 32, 32)).float() / 127.5 - 1
    return images, torch.tensor(records[:, 0] == ship).long()
