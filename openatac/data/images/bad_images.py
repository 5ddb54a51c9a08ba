"""Handle bad images: leave out a few in a large data set, raise an error if there are too many."""
import logging

from openatac.data.images.source import ImageSource
from openatac.errors import DataError

BAD_SHARE = 0.01  # that is tolerated by default
MAX_NAMED_IMAGES = 20  # bad images named in the log; the rest are only counted

Reasons = list[tuple[int, str]]  # index of each bad image, and why it cannot be read

log = logging.getLogger('openatac')


class BadImages:
    """A record of the unreadable images so far, each counted once and named in the log.

    Parameters
    ----------
    source : ImageSource
    max_share : float
        The largest tolerated share of bad images.
    named : int
        How many images to name in the log.

    Attributes
    ----------
    allowed : int
        The largest tolerated number: ``max_share`` of all images, but at least one unless that share is 0,
        and never all of them.
    """

    def __init__(self, source: ImageSource, max_share: float = BAD_SHARE,
                 named: int = MAX_NAMED_IMAGES) -> None:
        self._source = source
        self.max_share = max_share
        self._named = named
        self._known: set[int] = set()
        tolerated = int(max_share * len(source))
        at_least = 1 if max_share > 0 else 0
        self.allowed = min(max(tolerated, at_least), len(source) - 1)

    @property
    def count(self) -> int:
        """The number of images that could not be read."""
        return len(self._known)

    def __contains__(self, index: int) -> bool:
        return index in self._known

    def add(self, bad: Reasons) -> None:
        """Record unreadable images; raise DataError if there are now more than ``allowed``."""
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
                                'get the data again, or tolerate more (--max-bad-share of train-cifar, '
                                'train-imagenet and pack)')
