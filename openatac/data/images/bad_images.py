"""Images that cannot be read: a few in a large data set are left out, too many are an error."""
import logging

from openatac.data.images.source import ImageSource
from openatac.errors import DataError

MAX_BAD_SHARE = 0.01
NAMED = 20  # bad images that the log names; the rest are only counted

Unreadable = list[tuple[int, str]]  # index and reason of each image that could not be read

log = logging.getLogger('openatac')


class BadImages:
    """The images that could not be read so far, each counted once and named in the log.

    Parameters
    ----------
    source : ImageSource
    max_share : float
        A larger share of bad images is an error.
    named : int
        How many the log names.

    Attributes
    ----------
    allowed : int
        The largest number that is not an error: ``max_share`` of all images, but at least one of several,
        unless that share is 0.
    """

    def __init__(self, source: ImageSource, max_share: float = MAX_BAD_SHARE, named: int = NAMED) -> None:
        self._source, self._named, self.max_share = source, named, max_share
        self._known: set[int] = set()
        self.allowed = min(max(int(max_share * len(source)), max_share > 0), len(source) - 1)

    @property
    def count(self) -> int:
        """The number of images that could not be read."""
        return len(self._known)

    def __contains__(self, index: int) -> bool:
        return index in self._known

    def add(self, bad: Unreadable) -> None:
        """Record images; raise DataError if there are too many now."""
        for index, reason in bad:
            if index in self._known:
                continue
            self._known.add(index)
            name = self._source.name(index)
            if self.count <= self._named:
                log.warning('left out %s: %s', name, reason)
            elif self.count == self._named + 1:
                log.warning('left out more than %d images; the others are only counted', self._named)
            if self.count > self.allowed:
                raise DataError(f'{self.count} of {len(self._source)} images cannot be read, more than the '
                                f'{100 * self.max_share:g}% tolerated; the last is {name} ({reason}): '
                                'get the data again, or tolerate more with --max-bad-share')
