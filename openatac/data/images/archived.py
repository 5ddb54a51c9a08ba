"""Images in an archive with one folder per class, read without unpacking it."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from openatac.data.archives import File
from openatac.data.images.class_names import in_order
from openatac.data.images.folder import check_same_classes
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.image_paths import is_image_name
from openatac.errors import DataError


class ArchivedFolder(ImageFiles):
    """The images of ``folder/CLASS/NAME`` and ``folder/CLASS/FOLDER/NAME`` in an archive.

    They are numbered as in an `ImageFolder`, but must be read in archive order, since any other order is
    slow.

    Parameters
    ----------
    files : mapping
        {path in the archive: File}, from `openatac.data.archives.open_files`.
    folder : str
    class_names : sequence of str, optional
        The classes 0, 1, ...; by default all subfolders, sorted (numerically if all names are numbers).

    Raises
    ------
    DataError
        If the folder has no images, or its classes are not ``class_names``.
    """

    def __init__(self, files: Mapping[str, File], folder: str,
                 class_names: Sequence[str] | None = None) -> None:
        found: dict[str, list[bytes]] = {}
        for path in files:
            if path.startswith(folder + '/') and is_image_name(os.path.basename(path)):
                name, *below = path[len(folder) + 1:].split('/')
                if len(below) in (1, 2):
                    found.setdefault(name, []).append(os.fsencode(path))
        if not found:
            raise DataError(f'{folder} has no images: it needs subfolders, one for each class')
        names = in_order(found) if class_names is None else tuple(class_names)
        check_same_classes(names, found, folder)
        labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(found[name]) for name in names])
        paths = np.array([path for name in names for path in sorted(found[name])])
        super().__init__('', paths, labels, names)
        self._files = files
        positions = {path: position for position, path in enumerate(files)}
        self.reading_order = sorted(range(len(self)), key=lambda index: positions[self.name(index)])

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label)."""
        with self._files[self.name(index)].open() as stream:
            return stream.read(), int(self._labels[index])
