"""Gate maps of an export, and the figure that `openatac predict --gates` draws of them."""
import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from openatac import get_model
from openatac.inference.gate_maps import gate_figure, open_gates
from openatac.models.weights import load_parameters
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import read_manifest
from tests.helpers.exports.animal_export import ANIMALS, animal_network
from tests.helpers.exports.exporting import export
from tests.helpers.images.made_up_images import smooth, write_image
from tests.helpers.processes.commands import predict_error, predict_images

pytest.importorskip('onnxruntime')  # the export in these tests has all forms
pytest.importorskip('onnx')


def test_gate_maps_are_the_means_of_the_gates(animals, atac):
    net = get_model('cifar_resnet8_v2_atac', classes=5)
    load_parameters(net, str(animals / 'atac.params'))
    seen = []
    for unit in [block.msAA1 for stage in (2, 3, 4) for block in net.features[stage]] + [net.features[6]]:
        unit.module.register_forward_hook(lambda _, inputs, gate: seen.append(gate.asnumpy()))
    image = np.random.RandomState(0).randn(3, 32, 32).astype('float32')
    net(mx.nd.array(image[None]))
    maps = open_gates(atac)(image)
    assert [each.stage for each in maps] == ['1', '1', '2', '2', '3', '3', '']
    for found, gate in zip([*maps[:6:2], maps[6]], seen):
        assert np.allclose(found.values, gate[0].mean(0), atol=1e-5)


def test_figure_has_a_panel_for_each_unit(atac, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    image = write_image(tmp_path / 'a.png', smooth(50, 60, seed=5))
    assert predict_images(capsys, atac, image, '--gates', tmp_path / 'gates.png')[0] == 0
    drawn = np.asarray(Image.open(tmp_path / 'gates.png').convert('RGB'))
    assert drawn.shape[0] > 400 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 500
    transform = InputTransform(read_manifest(atac))
    made = transform(smooth(50, 60, seed=5))
    figure = gate_figure(open_gates(atac)(made), transform.to_pixels(made), 'a')
    titles = [panel.get_title() for panel in figure.axes if panel.images]
    assert len([title for title in titles if title.startswith('unit')]) == 7
    *stages, last = (title for title in titles if not title.startswith('unit'))
    assert stages == ['stage 1', 'stage 2', 'stage 3'] and 'after' in last


def test_network_without_gates_is_refused(tmp_path):
    pytest.importorskip('matplotlib')
    export(animal_network('cifar_resnet8_v2_relu'), str(tmp_path / 'relu'), ANIMALS)
    image = write_image(tmp_path / 'a.png', smooth())
    error = predict_error(str(tmp_path / 'relu'), '--gates', str(tmp_path / 'g.png'), image=image)
    assert 'ATAC' in error
    assert not (tmp_path / 'g.png').exists()
