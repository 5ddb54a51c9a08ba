"""Web servers on this machine."""
import contextlib
import functools
import http.server
import threading


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Answers requests without logging them to standard error."""

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(handler):
    """Run a server with the request handler class ``handler``; ``server.url`` ends with a slash."""
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.url = f'http://127.0.0.1:{server.server_port}/'
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def serving_folder(folder):
    """Run a server for the files in a folder."""
    return serving(functools.partial(QuietHandler, directory=str(folder)))
