"""The published files of CIFAR-10 and CIFAR-100: their names, labels and classes."""
from __future__ import annotations

from typing import NamedTuple

IMAGE_SIDE = 32  # in pixels
MD5 = {
    'cifar-10-binary.tar.gz': 'c32a1d4ab5d03f1284b67883e8d87530',
    'cifar-10-python.tar.gz': 'c58f30108f718f92721af3b95e74349a',
    'cifar-100-binary.tar.gz': '03b5dce01913d631647c71ecec9e9cb8',
    'cifar-100-python.tar.gz': 'eb9058c3a382ffc7106e4002c42a8d85',
}


class LabelSet(NamedTuple):
    """A set of labels: its key in the Python files, the file that lists its classes, and their names."""

    key: str
    listing: str
    words: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by index."""
        return tuple(self.words.split())


class Layout(NamedTuple):
    """One of the two layouts of a data set: the archive, the folder in it, and the files in the folder."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of training and test images."""
        return self.train + self.test


class CifarDataset(NamedTuple):
    """A data set; its ``label_sets`` are in the order of their bytes at the start of a binary record."""

    label_sets: dict[str, LabelSet]
    binary: Layout
    python: Layout

    @property
    def layouts(self) -> tuple[Layout, Layout]:
        """Both layouts; the first is preferred."""
        return self.binary, self.python


_BATCHES = tuple(f'data_batch_{k}' for k in range(1, 6))
CIFAR_DATASETS = {
    'cifar10': CifarDataset(
        label_sets={'fine': LabelSet('labels', 'batches.meta.txt',
                                     'airplane automobile bird cat deer dog frog horse ship truck')},
        binary=Layout('cifar-10-binary.tar.gz', 'cifar-10-batches-bin',
                      tuple(batch + '.bin' for batch in _BATCHES), ('test_batch.bin',)),
        python=Layout('cifar-10-python.tar.gz', 'cifar-10-batches-py', _BATCHES, ('test_batch',))),
    'cifar100': CifarDataset(
        label_sets={
            'coarse': LabelSet('coarse_labels', 'coarse_label_names.txt', """
                aquatic_mammals fish flowers food_containers fruit_and_vegetables
                household_electrical_devices household_furniture insects large_carnivores
                large_man-made_outdoor_things large_natural_outdoor_scenes
                large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
                small_mammals trees vehicles_1 vehicles_2"""),
            'fine': LabelSet('fine_labels', 'fine_label_names.txt', """
                apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
                butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
                couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
                house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
                motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
                pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
                rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
                sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
                turtle wardrobe whale willow_tree wolf woman worm""")},
        binary=Layout('cifar-100-binary.tar.gz', 'cifar-100-binary', ('train.bin',), ('test.bin',)),
        python=Layout('cifar-100-python.tar.gz', 'cifar-100-python', ('train',), ('test',))),
}


def class_names(name: str, label_set: str = 'fine') -> list[str]:
    """Return the published class names of cifar10 or cifar100 (``label_set``: fine or coarse), by index."""
    return list(CIFAR_DATASETS[name].label_sets[label_set].class_names)
