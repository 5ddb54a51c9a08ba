"""Made-up images in folders for train_cifar.py, train/CLASS/* and test/CLASS/*, and archives of them."""
import os
import shutil

from tests.helpers.images.made_up_images import blocks, encoded

CLASSES = 'cat', 'dog', 'owl'


def write_class_folders(root, classes=CLASSES, train=4, test=2, held_out='test'):
    """Write images of many sizes and formats, whose colour depends on the class."""
    for split, count in (('train', train), (held_out, test)):
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                image = blocks(20 + 9 * index, 50 - 7 * index, seed=index) // 4 + 60 * label
                form = ('PNG', 'JPEG', 'BMP', 'WEBP')[index % 4]
                (root / split / name / f'{index}.{form.lower()}').write_bytes(encoded(image, form))
    return root


def write_archive_of(root, ending):
    """Archive a folder together with its own name, as people usually do."""
    form = {'.zip': 'zip', '.tar': 'tar', '.tar.gz': 'gztar', '.tgz': 'tar'}[ending]
    made = shutil.make_archive(str(root.parent / 'made'), form, root.parent, root.name)
    path = root.with_suffix(ending)
    os.rename(made, path)  # .tgz: a plain tar under another name
    return path
