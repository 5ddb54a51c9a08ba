"""The images of a large data set that cannot be read: a few are left out, many are an error."""
import logging

from openatac.errors import DataError

MAX_BAD_SHARE = 0.01
NAMED = 20  # bad images that the log names; more are only counted

log = logging.getLogger('openatac')


class BadImages:
    """The images that could not be read so far, each counted once and named in the log.

    source : RecordFile or ImageFolder
    max_share : float; a larger share of bad images is an error
    named : number; the log names so many

    ``count`` is their number. ``allowed`` is the largest number that is no error: ``max_share`` of all, but
    at least one of several images, unless that share is 0.
    """

    def __init__(self, source, max_share=MAX_BAD_SHARE, named=NAMED):
        self._source, self._known, self._named, self.max_share = source, set(), named, max_share
        self.allowed = min(max(int(max_share * len(source)), max_share > 0), len(source) - 1)

    @property
    def count(self):
        return len(self._known)

    def add(self, bad):
        """Take note of [(index, reason)]; DataError if there are too many now."""
        for index, reason in bad:
            if index not in self._known:
                self._known.add(index)
                self._tell(self._source.name(index), reason)

    def _tell(self, name, reason):
        if self.count <= self._named:
            log.warning('left out %s: %s', name, reason)
        elif self.count == self._named + 1:
            log.warning('left out more than %d images; the others are only counted', self._named)
        if self.count > self.allowed:
            raise DataError('%d of %d images cannot be read, more than the %g %% tolerated; the last '
                            'is %s (%s): get the data again'
                            % (self.count, len(self._source), 100 * self.max_share, name, reason))
