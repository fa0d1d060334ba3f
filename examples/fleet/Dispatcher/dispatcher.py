"""The dispatcher: shows where every robot is, and sends them about.

    dispatcher.py --ip IP --port PORT

    GET  /                         a page with the map and the robots on it
    GET  /robots                   the same as JSON
    POST /go?robot=NAME&x=X&y=Y    sends a robot (also as a form)
    GET  /healthz                  ok

The robots are the imports with the prefixes `Navigation` and `Camera` in the file $ROBO_CONTEXT, read
for each request: a robot that joins or leaves is seen at the next look, without a restart.
"""

import argparse
import concurrent.futures
import html
import json
import os
import signal
import socketserver
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "/dispatcher/dispatcher")
CALL_SECONDS = 3
AT_ONCE = 16  # robots asked at the same time
MAX_BODY = 4 * 1024
MAX_ANSWER = 1024 * 1024

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>fleet</title>
<style>body {{ font: 16px sans-serif; margin: 2em }} pre {{ font-size: 18px; line-height: 1 }}
td, th {{ padding: .2em 1em; text-align: left }}</style></head>
<body>
<h1>The fleet</h1>
<pre id="map">{map}</pre>
<table id="robots"><tr><th>robot</th><th>is at</th><th>goes to</th><th>sees</th></tr>
{robots}</table>
<p>Send one: <code>curl -X POST '{url}go?robot=robot-1&amp;x=22&amp;y=7'</code></p>
</body>
</html>
"""


class Refused(Exception):
    """What was asked for cannot be done: an HTTP status and the reason."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Page(str):
    """A text that is HTML, not to be made JSON."""


class Handler(BaseHTTPRequestHandler):
    """Answers with what the route's function returns, as JSON unless it is a page."""

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
        if isinstance(value, Page):
            self.answer(status, "text/html; charset=utf-8", value)
        else:
            self.answer(status, "application/json", json.dumps(value) + "\n")

    def text(self):
        """The request's body, which may be empty."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise Refused(413, f"a body needs a Content-Length of at most {MAX_BODY}")
        return self.rfile.read(int(length)).decode("utf-8", "replace")

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
        # No proxy: the robots are told by address.
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


def addresses(prefix):
    """The URL of each instance that gives imports with this prefix, by the machine it is on."""
    try:
        with open(os.environ["ROBO_CONTEXT"], encoding="utf-8") as file:
            given = json.load(file)["imports"].get(prefix, [])
        return {
            one["path"].split("/")[1]: f"http://{one['variables']['ip']}:{int(one['variables']['port'])}"
            for one in given
        }
    except (OSError, LookupError, ValueError) as error:
        raise Refused(503, f"the context cannot be read: {error!r}") from error


def robots():
    """Every robot's state, those that do not answer included."""
    cameras = addresses("Camera")

    def look(item):
        name, url = item
        robot = {"robot": name}
        try:
            robot.update(call(url + "/state"))
        except Refused as refused:
            robot["error"] = str(refused)
        try:
            robot["sees"] = call(cameras[name] + "/picture")["rows"] if name in cameras else []
        except Refused:
            robot["sees"] = ["no picture"]
        return robot

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, sorted(addresses("Navigation").items())))


def go(request):
    asked = parse_qs(urlsplit(request.path).query) | parse_qs(request.text())
    try:
        name, x, y = asked["robot"][0], int(asked["x"][0]), int(asked["y"][0])
    except (LookupError, ValueError) as error:
        raise Refused(400, "POST /go?robot=NAME&x=X&y=Y, X and Y whole numbers") from error
    known = addresses("Navigation")
    if name not in known:
        raise Refused(404, f"there is no robot {name}; there are: {', '.join(sorted(known)) or 'none'}")
    answer = call(known[name] + "/goal", {"x": x, "y": y})
    print(f"sent {name} to ({x}, {y}): {answer['cells']} cells")
    return {"robot": name, **answer}


def page(url):
    found = robots()
    return PAGE.format(map=html.escape(map_with(found)), robots="".join(map(row, found)), url=html.escape(url))


def map_with(found):
    """The map with the last character of each robot's name where it is."""
    servers = addresses("MapServer")
    try:
        rows = [list(line) for line in call(next(iter(servers.values())) + "/map")["rows"]] if servers else []
    except Refused as refused:
        return f"no map: {refused}"
    for robot in found:
        x, y = robot.get("x", -1), robot.get("y", -1)
        if 0 <= y < len(rows) and 0 <= x < len(rows[y]):
            rows[y][x] = robot["robot"][-1]
    return "\n".join("".join(line) for line in rows)


def row(robot):
    sees = "\n".join(robot["sees"])
    if "error" in robot:
        cells = (robot["robot"], robot["error"], "", sees)
    else:
        goal = "{}, {}".format(*robot["goal"]) if robot["moving"] and robot["goal"] else "stands"
        cells = (robot["robot"], f"{robot['x']}, {robot['y']}", goal, sees)
    *first, last = (html.escape(str(cell)) for cell in cells)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in first) + f"<td><pre>{last}</pre></td></tr>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    url = f"http://{options.ip}:{options.port}/"
    server.routes = {
        ("GET", "/healthz"): lambda request: "ok",
        ("GET", "/"): lambda request: Page(page(url)),
        ("GET", "/robots"): lambda request: robots(),
        ("POST", "/go"): go,
    }
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
