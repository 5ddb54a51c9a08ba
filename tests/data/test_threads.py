"""The thread that prepares batches: their order, its limits, and its end."""
import itertools
import threading

import pytest

from openatac.data.threads import prefetch
from openatac.errors import DataError


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith('prefetch')]


@pytest.fixture(autouse=True)
def no_thread_stays():
    """Check that a test leaves no batch thread running."""
    yield
    for thread in threads():
        thread.join(10)
    assert not threads()


def test_batches_come_in_order():
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch([])) == []


def test_number_of_batches_made_ahead_is_limited():
    made, ahead = [], threading.Event()

    def count():
        for number in itertools.count():
            made.append(number)
            if number == 3:  # one was taken, two are queued, one waits for room in the queue
                ahead.set()
            yield number

    numbers = prefetch(count(), ahead=2)
    assert next(numbers) == 0 and ahead.wait(10)
    for taken in range(1, 100):
        assert len(made) <= taken + 3
        assert next(numbers) == taken
    numbers.close()


def test_error_comes_after_the_batches_before_it():
    def broken():
        yield 1
        yield 2
        raise DataError('the third batch is broken')

    with pytest.raises(DataError, match='third batch'):
        list(prefetch(broken()))
    numbers = prefetch(broken())
    assert [next(numbers), next(numbers)] == [1, 2]
    with pytest.raises(DataError):
        next(numbers)


def test_leaving_early_ends_the_thread():
    for number in prefetch(itertools.count()):
        if number == 3:
            break
    numbers = prefetch(itertools.count())
    next(numbers)
    assert threads()
    numbers.close()
