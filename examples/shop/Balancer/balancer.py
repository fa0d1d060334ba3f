"""A load balancer: passes each request on to one of the backends, in turn.

    balancer.py --ip IP --port PORT

The backends are the imports with the prefix `backend` in the file $ROBO_CONTEXT. HUP makes it read
them again. A backend that does not take the connection is passed over; while there is none, a request
waits a moment for one. /healthz is the balancer's own.
"""

import argparse
import http.client
import itertools
import json
import os
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 64 * 1024  # the shop's forms are tiny
MAX_ANSWER = 4 * 1024 * 1024
BACKEND_SECONDS = 5
PATIENCE_SECONDS = 5  # how long a request waits while there is no backend
PASSED_ON = ("Content-Type", "Location", "Cache-Control")


class Balancer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    backends = ()
    turn = itertools.count()
    there_is_one = threading.Event()

    def server_bind(self):
        # HTTPServer's own would look the address up in the DNS, which may take long where there is none.
        socketserver.TCPServer.server_bind(self)

    def read_backends(self):
        """Takes the new list, or keeps the old one and says why."""
        try:
            with open(os.environ["ROBO_CONTEXT"], encoding="utf-8") as file:
                given = json.load(file)["imports"].get("backend", [])
            backends = [(one["path"], one["variables"]["ip"], int(one["variables"]["port"])) for one in given]
        except (OSError, LookupError, ValueError) as error:
            print(f"kept the {len(self.backends)} backends it has: the context cannot be read: {error!r}")
            return
        self.backends = tuple(backends)
        if backends:
            self.there_is_one.set()
        else:
            self.there_is_one.clear()
        print("backends:", ", ".join(f"{path} at {ip}:{port}" for path, ip, port in backends) or "none")

    def in_turn(self):
        """All backends once, beginning with the one whose turn it is; waits a moment while there is none."""
        self.there_is_one.wait(PATIENCE_SECONDS)
        backends = self.backends
        if not backends:
            return ()
        first = next(self.turn) % len(backends)
        return backends[first:] + backends[:first]

    def handle_error(self, request, client_address):
        print(f"request of {client_address[0]} failed: {sys.exc_info()[1]!r}")


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, [("Content-Type", "text/plain")], f"ok, backends: {len(self.server.backends)}\n".encode())
        else:
            self.pass_on(b"")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.refuse(413, f"a body needs a Content-Length of at most {MAX_BODY}")
        else:
            self.pass_on(self.rfile.read(int(length)))

    def pass_on(self, body):
        for path, ip, port in self.server.in_turn():
            backend = http.client.HTTPConnection(ip, port, timeout=BACKEND_SECONDS)
            try:
                backend.connect()
            except OSError as error:
                print(f"passed over {path}: {error}")
                continue
            try:
                self.pass_on_to(backend, path, body)
            except (OSError, http.client.HTTPException) as error:
                # It may have acted on the request, so no other backend gets it.
                print(f"{path} broke off: {error!r}")
                self.refuse(502, f"{path} broke off in the middle of the answer")
            finally:
                backend.close()
            return
        self.refuse(503, "no web server takes connections now; try again in a moment")

    def pass_on_to(self, backend, path, body):
        headers = {"X-Forwarded-For": self.client_address[0]}
        if "Content-Type" in self.headers:
            headers["Content-Type"] = self.headers["Content-Type"]
        backend.request(self.command, self.path, body, headers)
        response = backend.getresponse()
        data = response.read(MAX_ANSWER)
        passed_on = [(name, response.headers[name]) for name in PASSED_ON if name in response.headers]
        print(f"{self.command} {self.path} -> {path}: {response.status}")
        self.answer(response.status, [*passed_on, ("X-Served-By", path)], data)

    def refuse(self, status, text):
        self.answer(status, [("Content-Type", "text/plain")], (text + "\n").encode())

    def answer(self, status, headers, data):
        try:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            print("the client went away before its answer")

    def log_request(self, code="-", size="-"):
        pass  # pass_on_to says more, and the check's requests say nothing

    def log_message(self, text, *args):
        print(text % args)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Balancer((options.ip, options.port), Handler)
    signal.signal(signal.SIGHUP, lambda *_: server.read_backends())
    with open(os.path.join(os.environ["ROBO_DATA_DIR"], "balancer.pid"), "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")  # for scripts/update.sh
    server.read_backends()
    print(f"listening on http://{options.ip}:{options.port}/")
    server.serve_forever()


if __name__ == "__main__":
    main()
