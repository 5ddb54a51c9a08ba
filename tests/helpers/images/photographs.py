"""The real photographs beside the checkout."""
from openatac.data.images.folder import ImageFolder


def photographs(shared_data, step=1):
    """Return the bytes of every ``step``-th file of the sample of ImageNet."""
    folder = ImageFolder(str(shared_data / 'imagenet_sample'))
    return [folder.read(index)[0] for index in range(0, len(folder), step)]
