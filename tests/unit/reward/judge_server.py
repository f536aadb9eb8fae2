"""A real HTTP server that answers as an OpenAI-compatible one would: as the test says, request by request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JudgeServer(ThreadingHTTPServer):
    """`answers` are (status, headers, body) in order; the last one is repeated."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = [verdict(1)]
        self.requests = []
        self.hold = threading.Event()
        self.hold.set()
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, dict(self.headers), body))
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            status, headers, text = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
        server.hold.wait(30)
        with server.lock:
            server.under_way -= 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args):
        pass


def verdict(score):
    return completion(f"Reasons.\n### Final Score: {score}")


def completion(text, **fields):
    body = {"choices": [{"message": {"content": text}}], **fields}
    return 200, {"Content-Type": "application/json"}, json.dumps(body)


@contextmanager
def a_judge_server() -> Iterator[JudgeServer]:
    server = JudgeServer()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield server
    finally:
        server.hold.set()
        server.shutdown()
        serving.join()
        server.server_close()
