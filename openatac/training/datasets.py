"""The data set that the flags of a run name, read while MXNet loads."""
import threading

from openatac.data import cifar, digits


def load(args, train):
    """The training or test `ImageSet` that ``--dataset`` names."""
    if args.dataset == 'digits':
        return digits.load_digits(train)
    return cifar.load_cifar(args.dataset, args.data_dir, train, labels=args.cifar100_labels,
                            url=args.data_url, progress=True)


class Reading:
    """`load` for each of ``splits`` (True for training), begun now in a thread if that is safe.

    It is for data that need no download, since the flags may still turn out to be wrong, no SciPy,
    which scikit-learn and MXNet must not import at once, and no --initial, whose files name the data set.
    ``result()`` reads the others, waits, and returns the list of sets or raises what went wrong.
    """

    def __init__(self, args, splits):
        self._sets, self._error = [], None
        self._thread = threading.Thread(target=self._read, args=(args, splits), daemon=True)
        if not args.initial and args.dataset != 'digits' and cifar.find_cifar(args.dataset, args.data_dir):
            self._thread.start()

    def _read(self, args, splits):
        try:
            self._sets = [load(args, train) for train in splits]
        except BaseException as error:  # handed over, not swallowed
            self._error = error

    def result(self):
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._sets
