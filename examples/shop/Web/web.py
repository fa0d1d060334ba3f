"""A web server of the shop: makes the page from what the database holds.

    web.py --ip IP --port PORT

Where the database and the (optional) worker are stands in the file $ROBO_CONTEXT; it is read for
each request, so both may move or go without a restart here. $GREETING is the page's heading.

    GET  /          the page
    POST /orders    product=NAME, from the page's form
    GET  /healthz   ok
"""

import argparse
import html
import http.client
import json
import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "web")
GREETING = os.environ.get("GREETING", "The shop")
MAX_BODY = 8 * 1024
MAX_ANSWER = 4 * 1024 * 1024
LAST_ORDERS = 10
CALL_SECONDS = 3

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>shop</title>
<style>body {{ font: 16px sans-serif; max-width: 40em; margin: 2em auto }} td, th {{ padding: .2em 1em; text-align: left }}
form {{ display: inline }}</style></head>
<body>
<h1>{greeting}</h1>
<p>This page was made by <b id="web">{web}</b> with data of <b id="database">{database}</b>.
It was asked for <b id="visits">{visits}</b> times.</p>
<h2>Products</h2>
<table>{products}</table>
<h2>Last orders</h2>
<table id="orders"><tr><th>order</th><th>product</th><th>taken by</th><th>state</th></tr>{orders}</table>
<p id="worker">{worker}</p>
</body>
</html>
"""


class Unavailable(Exception):
    """Something this page needs does not answer; the text says what."""


def provider(prefix):
    """Path and address of the first instance that gives imports with this prefix, or nothing."""
    with open(os.environ["ROBO_CONTEXT"], encoding="utf-8") as file:
        given = json.load(file)["imports"].get(prefix, [])
    if not given:
        return None
    variables = given[0]["variables"]
    return given[0]["path"], variables["ip"], int(variables["port"])


def call(prefix, method, path, value=None):
    """What the provider answers, as parsed JSON."""
    found = provider(prefix)
    if found is None:
        raise Unavailable(f"there is no {prefix} now")
    name, ip, port = found
    connection = http.client.HTTPConnection(ip, port, timeout=CALL_SECONDS)
    try:
        connection.request(method, path, None if value is None else json.dumps(value))
        response = connection.getresponse()
        answer = json.loads(response.read(MAX_ANSWER))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(f"{name} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise Unavailable(f"{name} answers {response.status}: {answer}")
    return answer


def page():
    visits = call("Database", "POST", "/counters/visits")
    products = call("Database", "GET", "/keys/products")
    orders = call("Database", "GET", f"/keys?prefix=orders/&last={LAST_ORDERS}")
    database = provider("Database")
    return PAGE.format(
        greeting=html.escape(GREETING),
        web=html.escape(ME),
        database=html.escape(database[0] if database else "the database"),
        visits=int(visits),
        products="".join(map(product_row, products)),
        orders="".join(map(order_row, reversed(orders))),
        worker=html.escape(worker_line()),
    )


def product_row(product):
    name = html.escape(str(product["name"]))
    button = f'<form method="post" action="/orders"><button name="product" value="{name}">order</button></form>'
    return f'<tr><td>{name}</td><td>{int(product["price"])} €</td><td>{button}</td></tr>'


def order_row(row):
    number, order = row["key"].rpartition("/")[2], row["value"]
    cells = (number, order.get("product"), order.get("taken_by"), order.get("state"))
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>\n"


def worker_line():
    if provider("Worker") is None:
        return "No worker now: orders wait."
    try:
        status = call("Worker", "GET", "/status")
    except Unavailable as error:
        return f"The worker is not well: {error}"
    return f"{status['worker']} has made {status['rounds']} rounds and shipped {status['shipped']} orders."


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/healthz":
            self.answer(200, "text/plain", "ok\n")
        elif path == "/":
            self.try_to(lambda: self.answer(200, "text/html; charset=utf-8", page()))
        else:
            self.answer(404, "text/plain", "no such page\n")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.answer(413, "text/plain", f"a body needs a Content-Length of at most {MAX_BODY}\n")
            return
        form = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"))
        if urlsplit(self.path).path != "/orders" or "product" not in form:
            self.answer(400, "text/plain", "POST /orders with product=NAME\n")
            return
        self.try_to(lambda: self.order(form["product"][0]))

    def order(self, product):
        if all(product != known["name"] for known in call("Database", "GET", "/keys/products")):
            self.answer(404, "text/plain", "no such product\n")
            return
        key = call("Database", "POST", "/append/orders", {"product": product, "taken_by": ME, "state": "open"})
        print(f"took {key}: {product}")
        self.answer(303, "text/plain", f"{key}\n", [("Location", "/")])

    def try_to(self, work):
        try:
            work()
        except (Unavailable, OSError) as error:
            print(f"{self.command} {self.path}: {error}")
            self.answer(503, "text/plain", f"{error}; try again in a moment\n")

    def answer(self, status, kind, text, headers=()):
        data = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            print("the client went away before its answer")

    def log_request(self, code="-", size="-"):
        if self.path != "/healthz":
            print(f"{self.command} {self.path}: {getattr(code, 'value', code)}")

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server((options.ip, options.port), Handler)
    print(f"{ME} listens on {options.ip}:{options.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
