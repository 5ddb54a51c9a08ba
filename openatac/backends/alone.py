"""A training run of one process."""


class Alone:
    """A run of one process, with the interface of `openatac.distributed.workers.Cluster`."""

    rank, size, stop_signal, is_asynchronous = 0, 1, 0, False

    def __init__(self, kvstore='device'):
        self.kvstore = kvstore

    def gather(self, message, name='a message'):
        return [message]

    def barrier(self, name='a barrier'):
        pass

    def prepare(self, trainer, batch_size):
        pass

    def check_alike(self, settings):
        pass

    def close(self):
        pass
