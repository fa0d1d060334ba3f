"""The camera of a robot: shows the part of the map that lies around it, with itself as `@`.

    camera.py --ip IP --port PORT

    GET /picture    {"rows": ["#####", "..@..", ".####"]}
    GET /healthz    ok

Map and place come from the navigation, the parent instance: $ANCESTOR_Navigation_ip and _port.
"""

import argparse
import json
import os
import signal
import socketserver
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "/robot-1/base/navigation/camera")
CALL_SECONDS = 3
MAX_ANSWER = 1024 * 1024
SIDEWAYS, AHEAD = 5, 2  # cells


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


def call(url):
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=CALL_SECONDS) as response:
            return json.loads(response.read(MAX_ANSWER))
    except (OSError, ValueError) as error:
        raise Refused(503, f"{url}: {error}") from error


def picture(navigation):
    rows, state = call(navigation + "/map")["rows"], call(navigation + "/state")
    x, y = state["x"], state["y"]

    def cell(column, row):
        if (column, row) == (x, y):
            return "@"
        inside = 0 <= row < len(rows) and 0 <= column < len(rows[row])
        return rows[row][column] if inside else " "

    around = range(x - SIDEWAYS, x + SIDEWAYS + 1)
    return {"rows": ["".join(cell(c, r) for c in around) for r in range(y - AHEAD, y + AHEAD + 1)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    navigation = f"http://{os.environ['ANCESTOR_Navigation_ip']}:{os.environ['ANCESTOR_Navigation_port']}"
    server.routes = {
        ("GET", "/healthz"): lambda request: "ok",
        ("GET", "/picture"): lambda request: picture(navigation),
    }
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
