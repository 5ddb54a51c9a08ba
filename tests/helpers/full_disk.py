"""A disk on which there is no room for more of a file."""
import contextlib
import resource


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond that many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
