"""A small export; tests damage copies of it."""
from openatac import get_model
from openatac.trained.manifest import Manifest
from tests.helpers.exports.exporting import export
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.networks.parameters import initialised

MANIFEST = Manifest('cifar_resnet8_v2_atac', 3, (3, 32, 32), PIXEL_MEAN, PIXEL_STD, 0, ['ant', 'bee', 'cow'])


def write_small_export(folder):
    """Write the export 'net' with symbol and fused files into ``folder``; return the folder."""
    net = initialised(get_model('cifar_resnet8_v2_atac', classes=3), seed=1)
    export(net, str(folder / 'net'), MANIFEST, ('symbol', 'fused'))
    return folder
