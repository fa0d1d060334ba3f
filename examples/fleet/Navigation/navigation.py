"""The navigation of a robot: finds a way on the map and has the base drive it.

    navigation.py --ip IP --port PORT

    GET  /state      where the robot is and where it goes
    GET  /map        the map it goes by
    POST /goal       {"x": 5, "y": 3}
    GET  /healthz    ok

The base is the parent instance: $ANCESTOR_Base_ip, $ANCESTOR_Base_port. The map is at $MAP_URL; the
last one is used as long as the map server does not answer.
"""

import argparse
import collections
import json
import os
import signal
import socketserver
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "/robot-1/base/navigation")
CALL_SECONDS = 3
TRIES = 3  # a moving robot may have left the cell that the path begins at
MAX_BODY = 4 * 1024
MAX_ANSWER = 1024 * 1024


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


def call(url, value=None):
    """What a GET, or a POST of `value`, answers. Raises `Refused` with the reason."""
    data = None if value is None else json.dumps(value).encode()
    try:
        # No proxy: these are the robot's own addresses and its server's.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, data, CALL_SECONDS) as response:
            return json.loads(response.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        raise Refused(error.code, reason_in(error.read(MAX_BODY))) from error
    except (OSError, ValueError) as error:
        raise Refused(503, f"{url}: {error}") from error


def reason_in(body):
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return body.decode("utf-8", "replace")


class Navigation:
    def __init__(self, base, map_url):
        self.base = base
        self.map_url = map_url
        self.known = None
        self.goal = None

    def map(self):
        try:
            self.known = call(self.map_url)
        except Refused as refused:
            if self.known is None:
                raise
            print(f"going by the map as it was: {refused}")
        return self.known

    def state(self):
        return {"robot": ME.split("/")[1], **call(self.base + "/pose"), "goal": self.goal}

    def go(self, body):
        try:
            goal = int(body["x"]), int(body["y"])
        except (LookupError, TypeError, ValueError) as error:
            raise Refused(400, 'the body has the form {"x": 5, "y": 3}') from error
        rows = self.map()["rows"]
        for tries_left in reversed(range(TRIES)):
            pose = call(self.base + "/pose")
            path = way(rows, (pose["x"], pose["y"]), goal)
            try:
                answer = call(self.base + "/drive", {"path": path})
                break
            except Refused as refused:
                if refused.status != 409 or tries_left == 0:
                    raise
        self.goal = goal
        print(f"going to {goal}: {answer['cells']} cells")
        return answer


def way(rows, start, goal):
    """The shortest path over free cells, both ends included. Breadth first: each step costs the same."""

    def free(x, y):
        return 0 <= y < len(rows) and 0 <= x < len(rows[y]) and rows[y][x] == "."

    if not free(*goal):
        raise Refused(409, f"{goal} is not a free cell of the map")
    came_from = {start: None}
    queue = collections.deque([start])
    while queue and goal not in came_from:
        x, y = queue.popleft()
        for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if free(*cell) and cell not in came_from:
                came_from[cell] = (x, y)
                queue.append(cell)
    if goal not in came_from:
        raise Refused(409, f"there is no way from {start} to {goal}")
    path, cell = [], goal
    while cell is not None:
        path.append(cell)
        cell = came_from[cell]
    return path[::-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    base = f"http://{os.environ['ANCESTOR_Base_ip']}:{os.environ['ANCESTOR_Base_port']}"
    navigation = Navigation(base, os.environ["MAP_URL"])
    server.routes = {
        ("GET", "/healthz"): lambda request: "ok",
        ("GET", "/state"): lambda request: navigation.state(),
        ("GET", "/map"): lambda request: navigation.map(),
        ("POST", "/goal"): lambda request: navigation.go(request.body()),
    }
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
