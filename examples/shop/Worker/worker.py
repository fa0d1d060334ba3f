"""The shop's worker: once a second it ships the open orders and leaves a sign of life in the database.

    worker.py --ip IP --port PORT --database IP:PORT

    GET /status     what it has done so far
    GET /healthz    ok
"""

import argparse
import http.client
import json
import os
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ME = os.environ.get("ROBOCONF_INSTANCE_PATH", "worker")
EVERY_SECONDS = 1
CALL_SECONDS = 3
MAX_ANSWER = 4 * 1024 * 1024


class Worker:
    def __init__(self, database):
        self.database = database
        self.rounds = 0
        self.shipped = 0

    def work(self):
        """One round. Raises when the database does not answer; what was not shipped waits for the next."""
        for row in self.call("GET", "/keys?prefix=orders/&last=200"):
            order = row["value"]
            if order.get("state") == "open":
                self.call("PUT", f"/keys/{row['key']}", {**order, "state": f"shipped by {ME}"})
                self.shipped += 1
                print(f"shipped {row['key']}: {order.get('product')}")
        self.rounds += 1
        self.call("PUT", "/keys/worker", self.status())

    def status(self):
        return {"worker": ME, "rounds": self.rounds, "shipped": self.shipped}

    def call(self, method, path, value=None):
        connection = http.client.HTTPConnection(self.database, timeout=CALL_SECONDS)
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            response = connection.getresponse()
            answer = json.loads(response.read(MAX_ANSWER))
        finally:
            connection.close()
        if response.status >= 400:
            raise ValueError(f"{method} {path}: {response.status} {answer}")
        return answer


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        pages = {"/status": self.server.worker.status, "/healthz": lambda: "ok"}
        page = pages.get(self.path)
        data = json.dumps(page() if page else "no such page").encode()
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        pass  # the check asks every two seconds

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
    parser.add_argument("--database", required=True, help="IP:PORT")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    server = Server((options.ip, options.port), Handler)
    server.worker = worker = Worker(options.database)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{ME} ships the orders in {options.database}")

    ticks = threading.Event()
    failing = False
    while True:
        try:
            worker.work()
            failing = False
        except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException) as error:
            if not failing:  # once, not once a second
                print(f"the database does not answer as it should: {error!r}; trying again every {EVERY_SECONDS} s")
            failing = True
        ticks.wait(EVERY_SECONDS)


if __name__ == "__main__":
    main()
