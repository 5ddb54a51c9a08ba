"""A training run of several processes: MXNet's parameter server, and what it lacks.

    cluster = distributed.start('dist_sync')    # in a scheduler or server it never returns
    ...                                         # gluon.Trainer(..., kvstore=cluster.kvstore)
    cluster.close()

`openatac launch` starts all processes of a run. When one of them dies, all others end within
seconds and say so (see `openatac.distributed.membership`); MXNet alone would wait for ever.
"""
import atexit
import os
import signal
import socket
import sys
import threading
import traceback

from openatac.backends.base import SingleProcess
from openatac.console import streams
from openatac.errors import OpenatacError

# What MXNet really has. It takes other names, such as horovod, without a word for a local store.
KVSTORES = ('local', 'device', 'dist_sync', 'dist_device_sync', 'dist_async')
ROLES = ('scheduler', 'server', 'worker')
LAUNCH = 'start all processes of the run by: openatac launch -n WORKERS -s SERVERS -- COMMAND'


class Cluster:
    """A worker's view of a run of several processes; made by `start`.

    rank, size : int; which worker this is, and how many there are
    kvstore : mxnet.kvstore.KVStore, for gluon.Trainer
    is_asynchronous : bool; whether the servers update the weights, each push for itself
    """

    def __init__(self, name, member):
        import mxnet as mx
        self.is_asynchronous = name == 'dist_async'
        self._member, self._open, self.silence = member, True, member.job.silence
        member.wait_for_all()
        self.kvstore = mx.kv.create(name)
        self.rank, self.size = self.kvstore.rank, self.kvstore.num_workers
        member.say_rank(self.rank)
        self._replace_pickles()

    def _replace_pickles(self):
        from openatac.distributed.parameter_server import send_optimizer
        self.kvstore.set_optimizer = lambda optimizer: send_optimizer(self.kvstore, optimizer)

    @property
    def stop_signal(self):
        """The number of the signal by which someone asked the whole run to stop, or 0."""
        return self._member.stop_signal

    def gather(self, message, name='a message'):
        """The JSON-able ``message`` of every worker, in the order of ranks.

        All workers must call this equally often; ``name`` is what a sentence calls this place
        when they do not. At most 64 MB for all workers together.
        """
        return self._member.gather(message, name)

    def barrier(self, name='a barrier'):
        """Wait for all workers to come here."""
        self.gather(None, name)

    def check_alike(self, settings):
        """Raise OpenatacError, on every worker, if their {name: JSON-able value} differ."""
        everyone = self.gather(settings, 'the comparison of settings')
        wrong = [_difference(name, everyone) for name in sorted(set().union(*everyone))
                 if any(other.get(name, ...) != everyone[0].get(name, ...) for other in everyone)]
        if wrong:
            raise OpenatacError('the workers were started with different settings: %s; give all of them the '
                                'same command' % '; '.join(wrong))

    def prepare(self, trainer, batch_size):
        """Give all workers worker 0's initial values, before the first step of the gluon.Trainer.

        The step would do it itself, but does not wait: a worker can then get the sum of the first
        gradients for its initial values (on CPUs one in three did). ``batch_size`` is what the
        steps will be called with; servers that update learn it here, once and for all.
        """
        import mxnet as mx
        if not trainer._kv_initialized:
            trainer._check_and_rescale_grad(trainer._scale / batch_size)
            trainer._init_kvstore()
        if trainer._params_to_init:
            trainer._init_params()
        mx.nd.waitall()
        self.barrier('the initial values')

    def set_learning_rate(self, rate):
        """For servers that update the weights (dist_async): the rate from now on."""
        from openatac.distributed.parameter_server import send_learning_rate
        send_learning_rate(self.kvstore, rate)

    def close(self):
        """Leave together with the other workers; the servers and the scheduler then end."""
        if not self._open:
            return
        import mxnet as mx
        mx.nd.waitall()
        self.barrier('the end')
        # MXNet leaves when the store is freed, and waits for the others there. Python would free
        # it at a time of its own choosing, or never.
        self.kvstore.__del__()
        self.kvstore.handle = mx.base.KVStoreHandle()
        self._open = False
        self._member.goodbye()

    def fail(self, sentence, code=1):
        """Tell the others, and end this process with the exit code; does not return."""
        from openatac.distributed.membership import leave
        if self._open:
            self._member.fail(sentence)
        leave(sentence, code)


def _difference(name, everyone):
    values = (repr(settings[name]) if name in settings else 'missing' for settings in everyone)
    return '%s is %s' % (name, ', '.join('%s on worker %d' % (value, rank)
                                         for rank, value in enumerate(values)))


# ----------------------------------------------------------------------------- start and end

_cluster = None     # of this process


def start(name):
    """Take this process's place in a run with MXNet's key-value store ``name``, one of KVSTORES.

    Returns `SingleProcess` for a store of one process, and `Cluster` in a worker of several. In a scheduler
    and a server it serves until the run ends, and ends the process; so call it before importing
    MXNet, which would do that in its own way. Raises OpenatacError if the name or the DMLC_*
    variables make no run, or nobody answers.
    """
    global _cluster
    if name not in KVSTORES:
        raise OpenatacError('there is no key-value store %r: choose from %s' % (name, ', '.join(KVSTORES)))
    if not name.startswith('dist'):
        if os.environ.get('DMLC_ROLE', 'worker') != 'worker':
            raise OpenatacError('this process is the %s of a distributed run, and the key-value store %r is '
                                'for one process: choose dist_sync, dist_device_sync or dist_async'
                                % (os.environ['DMLC_ROLE'], name))
        return SingleProcess(name)
    job = read_job(os.environ, name)
    _prepare_mxnet(job)
    if job.role != 'worker':
        _serve(job)
    from openatac.distributed.membership import Member
    member = Member(job)
    # From here on, an end that nobody planned must reach the others, and not wait for them.
    _catch_unplanned_ends(member)
    _cluster = Cluster(name, member)
    return _cluster


def end(sentence, code=1):
    """End a script that failed: print ``error: sentence``, and exit with the code; does not return.

    In a cluster the other processes hear of it and end too. A code of 128 or more says that the
    run was asked to stop: then all workers come here alike, and leave in peace.
    """
    if _cluster is None:
        streams.print_to_stderr('error: %s' % sentence)
        sys.exit(code)
    if code >= 128:
        # Those who do not come alike, after a second Ctrl-C, would wait for each other for ever.
        late = threading.Timer(_cluster.silence, _cluster.fail, (sentence, code))
        late.daemon = True
        late.start()
        _cluster.close()
    _cluster.fail(sentence, code)


def _catch_unplanned_ends(member):
    from openatac.distributed.membership import leave

    def hook(kind, error, trace):
        traceback.print_exception(kind, error, trace)
        give_up(_last_line(kind, error))

    def give_up(text):
        if not member._leaving:
            member.fail(text)
            leave(None)

    sys.excepthook = hook
    # After MXNet's own exit handler was registered, to run before it.
    import mxnet  # noqa: F401
    atexit.register(give_up, 'it ended before the run did')


def _last_line(kind, error):
    # MXNet's messages begin with tracebacks of C++.
    return '%s: %s' % (kind.__name__, (str(error).strip().splitlines() or [''])[-1])


def _serve(job):
    """Be a scheduler or server until the run ends, and end the process."""
    from openatac.distributed import membership
    from openatac.distributed.parameter_server import serve
    if job.role == 'scheduler':
        end = membership.Hub(job)
        _pass_on_signals(end.ask_to_stop)
    else:
        # The workers are asked to stop, and need the servers until they have.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        end = membership.Member(job)

    def fail(sentence):
        end.fail(sentence)
        membership.leave(sentence)

    try:
        serve(job.role, end.wait_for_all, fail)
    except ImportError as error:
        fail(str(error))
    except Exception as error:
        traceback.print_exc()
        fail(_last_line(type(error), error))
    if job.role == 'scheduler':
        end.wait_for_goodbyes()
    else:
        end.goodbye()
    membership.leave(None, 0)


def _pass_on_signals(ask_to_stop):
    """Let SIGINT and SIGTERM ask the workers to stop, while this thread is deep in MXNet."""
    received, sender = socket.socketpair()
    sender.setblocking(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # without a handler nothing would be written
    signal.set_wakeup_fd(sender.fileno())

    def pass_on():
        while True:
            ask_to_stop(received.recv(1)[0])

    pass_on.sender = sender  # keeps it open
    threading.Thread(target=pass_on, daemon=True).start()


# -------------------------------------------------------------------------- the environment

def read_job(environment, kvstore='dist_sync'):
    """The `roll_call.Job` that the DMLC_* variables describe; OpenatacError if they describe none."""
    from openatac.distributed.membership import Job
    role = environment.get('DMLC_ROLE')
    if role not in ROLES:
        raise OpenatacError('the key-value store %s needs DMLC_ROLE to be scheduler, server or worker, and '
                            'it is %s: %s' % (kvstore, 'missing' if role is None else repr(role), LAUNCH))
    address = environment.get('DMLC_PS_ROOT_URI')
    if not address:
        raise OpenatacError("DMLC_PS_ROOT_URI must be the scheduler's address, and is missing: %s" % LAUNCH)
    port = _number(environment, 'DMLC_PS_ROOT_PORT', int, 1, 65535)
    return Job(
        role, address, port, _number(environment, 'OPENATAC_ROLL_CALL_PORT', int, 1, 65535, port + 1),
        workers=_number(environment, 'DMLC_NUM_WORKER', int, 1, 10000),
        servers=_number(environment, 'DMLC_NUM_SERVER', int, 1, 10000),
        name=environment.get('OPENATAC_ROLL_CALL_NAME', ''),
        wait=_number(environment, 'OPENATAC_ROLL_CALL_WAIT', float, 0.1, 86400, Job._field_defaults['wait']),
        silence=_number(environment, 'OPENATAC_ROLL_CALL_SILENCE', float, 0.1, 86400,
                        Job._field_defaults['silence']))


def _number(environment, variable, kind, low, high, default=None):
    text = environment.get(variable)
    if text is None and default is not None:
        return default
    try:
        value = kind(text)
        if low <= value <= high:
            return value
    except (TypeError, ValueError):
        pass
    raise OpenatacError('%s must be a number from %g to %g, and is %s: %s' % (
        variable, low, high, 'missing' if text is None else repr(text), LAUNCH))


def _prepare_mxnet(job):
    """MXNet's connections listen on addresses, not on names, and by default never on loopback."""
    for variable in ['DMLC_NODE_HOST'] + ['DMLC_PS_ROOT_URI'] * (job.role == 'scheduler'):
        if os.environ.get(variable):
            os.environ[variable] = _address_of(os.environ[variable], variable)
    if job.address.startswith(('127.', 'localhost')) and not os.environ.get('DMLC_INTERFACE'):
        os.environ.setdefault('DMLC_NODE_HOST', '127.0.0.1')


def _address_of(name, variable):
    try:
        return socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0]
    except (OSError, UnicodeError):
        raise OpenatacError('%s is %r, which is neither an IPv4 address nor a name that is known here: '
                            'correct it' % (variable, name)) from None
