"""A client that asks one request after the other on one connection, for what a connection remembers."""
import http.client
import ssl


class KeepAlive:
    """get() and post() on one connection; reopened says how often the server had ended it."""

    def __init__(self, port, tls=False, host="127.0.0.1", source=None):
        context = ssl._create_unverified_context() if tls else None
        source = (source, 0) if source else None
        self.http = (http.client.HTTPSConnection(host, port, timeout=20, context=context, source_address=source) if tls
                     else http.client.HTTPConnection(host, port, timeout=20, source_address=source))
        self.reopened = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def request(self, method, path, headers=None, body=None):
        if self.http.sock is None:
            self.reopened += 1
        self.http.request(method, path, body=body, headers=headers or {})
        answer = self.http.getresponse()
        answer.body = answer.read()
        return answer

    def get(self, path, headers=None):
        return self.request("GET", path, headers)
