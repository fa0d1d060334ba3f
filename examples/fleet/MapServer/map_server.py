"""Has the map of the warehouse: `#` is a wall or a shelf, `.` is free.

    map_server.py --ip IP --port PORT --map FILE

    GET /map        {"rows": ["####", "#..#", "####"]}
    GET /healthz    ok
"""

import argparse
import json
import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "/map-server/maps")


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


def read_map(file):
    with open(file, encoding="ascii") as lines:
        rows = lines.read().split()
    if not rows or set("".join(rows)) - set("#."):
        sys.exit(f"{file} is no map: lines of # and . are")
    return {"rows": rows}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--map", required=True, help="file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    warehouse = read_map(options.map)
    server.routes = {
        ("GET", "/healthz"): lambda request: "ok",
        ("GET", "/map"): lambda request: warehouse,
    }
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
