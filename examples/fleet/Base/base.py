"""The driver of a robot's base: drives along a path, one cell after the other.

    base.py --ip IP --port PORT

    GET  /pose       {"x": 1, "y": 3, "moving": false}
    POST /drive      {"path": [[1, 3], [2, 3]]}, from where the robot is
    GET  /healthz    ok

The path under way and when it began are on the disk, so a driver that is started again knows where
the robot is. A new robot stands at its station: robot-N in row 2N-1.
"""

import argparse
import json
import os
import re
import signal
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "/robot-1/base")
CELLS_A_SECOND = 2
MAX_PATH = 10_000
MAX_BODY = 256 * 1024


class Refused(Exception):
    """What was asked for cannot be done: an HTTP status and the reason."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers with what the route's function returns, as JSON."""

    timeout = 10

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        try:
            route = self.server.routes.get((self.command, urlsplit(self.path).path))
            if route is None:
                raise Refused(404, "no such page")
            status, value = 200, route(self)
        except Refused as refused:
            status, value = refused.status, {"error": str(refused)}
        self.answer(status, "application/json", json.dumps(value) + "\n")

    def body(self):
        """The request's body, parsed."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise Refused(413, f"a body needs a Content-Length of at most {MAX_BODY}")
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise Refused(400, "the body is not JSON") from error

    def answer(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        pass  # polled every second; what is worth a line prints one

    def log_message(self, text, *args):
        print(text % args)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        # HTTPServer's own would look the address up in the DNS, which may take long where there is none.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request, client_address):
        print(f"request of {client_address[0]} failed: {sys.exc_info()[1]!r}")


class Base:
    def __init__(self, file):
        self.file = file
        self.lock = threading.Lock()
        try:
            with open(file, encoding="utf-8") as saved:
                state = json.load(saved)
            self.path, self.since = [tuple(cell) for cell in state["path"]], state["since"]
        except (FileNotFoundError, ValueError, LookupError):
            number = re.search(r"(\d+)$", ME.split("/")[1])
            self.path, self.since = [(1, 2 * int(number[1]) - 1 if number else 1)], 0.0

    def pose(self):
        with self.lock:
            (x, y), moving = self.now()
        return {"x": x, "y": y, "moving": moving}

    def now(self):
        done = int(max(0.0, time.time() - self.since) * CELLS_A_SECOND)
        last = len(self.path) - 1
        return self.path[min(done, last)], done < last

    def drive(self, path):
        with self.lock:
            here, _ = self.now()
            if path[0] != here:
                raise Refused(409, f"the path begins at {path[0]}, the robot is at {here}")
            since = time.time()
            with open(self.file + ".new", "w", encoding="utf-8") as saved:
                json.dump({"path": path, "since": since}, saved)
            os.replace(self.file + ".new", self.file)
            self.path, self.since = path, since
        print(f"driving {len(path) - 1} cells, from {path[0]} to {path[-1]}")
        return {"cells": len(path) - 1}


def path_in(body):
    """The checked path of a request: cells, each beside the one before."""
    try:
        path = [(int(x), int(y)) for x, y in body["path"]]
    except (LookupError, TypeError, ValueError) as error:
        raise Refused(400, 'the body has the form {"path": [[1, 3], [2, 3]]}') from error
    if not 1 <= len(path) <= MAX_PATH:
        raise Refused(400, f"a path has 1 to {MAX_PATH} cells")
    if any(abs(x - a) + abs(y - b) != 1 for (a, b), (x, y) in zip(path, path[1:])):
        raise Refused(400, "each cell of a path lies beside the one before")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    base = Base(os.path.join(os.environ["ROBO_DATA_DIR"], "path.json"))
    server.routes = {
        ("GET", "/healthz"): lambda request: "ok",
        ("GET", "/pose"): lambda request: base.pose(),
        ("POST", "/drive"): lambda request: base.drive(path_in(request.body())),
    }
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
