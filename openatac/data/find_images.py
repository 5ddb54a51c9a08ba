"""Find image files."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from openatac.data.archives import is_archive_name
from openatac.data.images.decoding import EXTENSIONS, is_image_name
from openatac.errors import OpenatacError, reason


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
