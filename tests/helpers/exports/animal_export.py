"""A network that distinguishes images of five animals, and its exports."""
import numpy as np

from openatac import get_model
from openatac.export.forms.base import FORMS
from openatac.trained.manifest import Manifest
from tests.helpers.exports.exporting import export
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.networks.parameters import with_statistics

LABELS = ['ant', 'bee', 'cow', 'dog', 'elk']
ANIMALS = Manifest('cifar_resnet8_v2_atac', 5, (3, 32, 32), PIXEL_MEAN, PIXEL_STD, 0, LABELS)


def animal_network(name=ANIMALS.model):
    """Return a network whose scores differ between images, and whose running statistics are not initial."""
    net = with_statistics(get_model(name, classes=5), seed=3)
    net.output.weight.set_data(20 * net.output.weight.data())
    return net


def export_animals(net, prefix, manifest=ANIMALS, forms=tuple(FORMS)):
    """Export a network of `animal_network`, by default in all forms."""
    calibration = [np.random.RandomState(1).randn(16, 3, 32, 32).astype('float32')]
    export(net, str(prefix), manifest, list(forms), calibration_images=calibration)
