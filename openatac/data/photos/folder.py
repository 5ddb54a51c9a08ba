"""Images in a folder that has a subfolder for each class, like unpacked ImageNet."""
import errno
import logging
import os
import zlib
from typing import Optional

import numpy as np

from openatac.data.photos.bad_images import BadImage
from openatac.errors import DataError
from openatac.files.reading import IMAGE_LIMIT, opening, read_input

EXTENSIONS = ('.jpg', '.jpeg', '.png')
_EXTENSIONS = {extension.encode() for extension in EXTENSIONS}

log = logging.getLogger('openatac')


class ImageFolder:
    """The images of ``root/CLASS/NAME``; subfolders sorted by name are the classes 0, 1, ...

    Parameters
    ----------
    root : str
    classes : int, optional
        The required number of classes.

    Raises
    ------
    DataError
        If the folder is missing, has no images or has a different number of classes.
    """

    def __init__(self, root: str, classes: Optional[int] = None) -> None:
        self.root = root
        self.class_names = tuple(_class_folders(root))
        if classes is not None and len(self.class_names) != classes:
            raise DataError(f'{root} has {len(self.class_names)} classes (subfolders), and the network has '
                            f'{classes}: make them equal')
        files = [_images_in(os.path.join(root, name)) for name in self.class_names]
        if not any(files):
            raise DataError(f'{root} has no images: it needs subfolders, one for each class, with files '
                            f'whose names end in {", ".join(EXTENSIONS)}')
        self._labels = np.repeat(np.arange(len(files), dtype=np.int32), [len(names) for names in files])
        # An array of bytes takes a quarter of the memory of a list, in each worker process too.
        self._names = np.array([name for names in files for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def fingerprint(self) -> str:
        """Return a text that identifies this data set, computed from the names of its files."""
        return f'{len(self)}:{zlib.crc32(self._names.data, zlib.crc32(self._labels.data)):08x}'

    def name(self, index: int) -> str:
        """Return the path of image ``index``, relative to the root."""
        return os.path.join(self.class_names[self._labels[index]], os.fsdecode(self._names[index]))

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label); raise BadImage if it cannot be read."""
        try:
            data = read_input(os.path.join(self.root, self.name(index)), IMAGE_LIMIT)
            return data, int(self._labels[index])
        except OSError as error:
            raise BadImage(error.strerror) from error


def _class_folders(root: str) -> list[str]:
    with opening(f'the image folder {root}'), os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != '.' and _is_class(entry))


def _is_class(entry: 'os.DirEntry[str]') -> bool:
    """Return whether it is a folder; circular symbolic links are reported and left out."""
    try:
        if not entry.is_dir():
            return False
        if entry.is_symlink():
            target, root = (os.path.realpath(path) for path in (entry.path, os.path.dirname(entry.path)))
            if os.path.commonpath([target, root]) == target:
                raise OSError(errno.ELOOP, 'it leads to the folder that it is in')
        return True
    except OSError as error:
        log.warning('left out %s: %s', entry.path, error.strerror)
        return False


def _images_in(folder: str) -> list[bytes]:
    """Return the names of the folder's image files, sorted."""
    with opening(f'the image folder {folder}'):
        return sorted(name for name in os.listdir(os.fsencode(folder))
                      if os.path.splitext(name)[1].lower() in _EXTENSIONS and not name.startswith(b'.'))
