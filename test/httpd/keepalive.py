"""A client that asks one request after the other on one connection, for what a connection remembers."""
import h2client
from clients import Connection


class KeepAlive:
    """request() and get() on one connection; reopened says how often the server had ended it."""

    def __init__(self, port, tls=False, host="127.0.0.1", source=None):
        self.words = {"port": port, "tls": tls, "host": host, "source": source}
        self.connection = None
        self.reopened = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def request(self, method, path, headers=None, body=None):
        while True:
            if self.connection is None:
                self.connection = Connection(**self.words)
                self.reopened += 1
            try:
                answer = self.connection.request(path, method, headers or {}, body)
                break
            except h2client.Refused:
                self._end()
        if not self.connection.kept(answer):
            self._end()
        return answer

    def get(self, path, headers=None):
        return self.request("GET", path, headers)
