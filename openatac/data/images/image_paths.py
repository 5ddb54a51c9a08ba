"""Find image files in folders, by their names."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from openatac.data.archives import is_archive_name
from openatac.errors import OpenatacError, reason
from openatac.files.reading import opening

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.gif', '.webp', '.bmp', '.tif', '.tiff')


def is_image_name(name: str) -> bool:
    """Return whether a file name has an image's extension; hidden files do not count."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith('.')


def list_images(folder: str, levels: int = 2) -> tuple[list[bytes], int]:
    """Find the images in a folder and, for 2 levels, in its subfolders.

    Returns
    -------
    images : list of bytes
        Paths relative to the folder, sorted.
    others : int
        The number of other files; hidden ones are ignored.
    """
    with opening(f'the image folder {folder}'):
        names = [name for name in os.listdir(folder) if not name.startswith('.')]
    images, others = [], 0
    for name in names:
        if is_image_name(name):  # first, since a system call for each image would be slow
            images.append(os.fsencode(name))
        elif not os.path.isdir(os.path.join(folder, name)):
            others += 1
        elif levels > 1:
            below, more = list_images(os.path.join(folder, name), levels - 1)
            images += [os.fsencode(name) + b'/' + image for image in below]  # on Windows too, see fingerprint
            others += more
    return sorted(images), others


def find_images(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths of image files: files and - (standard input) as given, folders as their images, sorted.

    Raises
    ------
    OpenatacError
        For an archive, a folder without images, or one that cannot be read.
    """
    for path in paths:
        if is_archive_name(path):
            raise OpenatacError(f'{path} is an archive: unpack it and give the folder')
        if not os.path.isdir(path):
            yield path
            continue
        images = sorted(_images_below(path))
        if not images:
            raise OpenatacError(f'{path} has no images: their names must end in {", ".join(EXTENSIONS)}')
        yield from images


def _images_below(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise OpenatacError(f'cannot open the folder {error.filename} ({reason(error)})')

    for subfolder, _, names in os.walk(folder, onerror=fail):
        yield from (os.path.join(subfolder, name) for name in names if is_image_name(name))
