"""A limit on file sizes that acts like a full disk."""
import contextlib
import resource


@contextlib.contextmanager
def limit_file_size(size):
    """Keep this process from writing any file beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
