"""A small key-value store over HTTP that loses nothing it has answered for.

    store.py init PRODUCTS    make the journal, unless there is one
    store.py start IP PORT    run as a daemon; returns when it accepts connections
    store.py stop             stop the daemon; returns when it is gone

    GET  /healthz                  ok
    GET  /keys?prefix=P&last=N     the last N keys that start with P, with their values
    GET  /keys/KEY                 one value
    PUT  /keys/KEY                 sets it (body: JSON)
    POST /counters/NAME            adds one, answers the new value
    POST /append/NAME              stores the body under NAME/<next number>, answers the key

The data is a journal, one JSON line `[key, value]` for each write, synced to the disk before the
answer. The daemon holds a lock on its pidfile for as long as it lives, so a pidfile left behind by
a crash is told from a living one, and `stop` waits on the lock instead of asking again and again.
"""

import fcntl
import json
import logging
import logging.handlers
import os
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

DATA = os.environ.get("ROBO_DATA_DIR", "")
JOURNAL = os.path.join(DATA, "store.journal")
PIDFILE = os.path.join(DATA, "store.pid")

MAX_BODY = 64 * 1024  # a value is a few hundred bytes; more is a mistake
MAX_APPENDED = 200  # of each appended name the newest are kept, so that the store stays small
MAX_LISTED = 200
COMPACT_AFTER = 10_000  # lines: the journal is rewritten with only what still counts
LOG_BYTES = 256 * 1024
STOP_SECONDS = 10  # after that the daemon is killed


class Store:
    """The keys in memory and their journal on the disk."""

    def __init__(self):
        self.lock = threading.Lock()
        self.keys = {}
        self.lines = 0
        self.replay()
        self.compact()

    def replay(self):
        with open(JOURNAL, "rb") as journal:
            for line in journal:
                try:
                    key, value = json.loads(line)
                except ValueError:
                    # Only the last line can be torn, by a crash in the middle of a write nobody was told of.
                    logging.warning("dropped the torn end of the journal")
                    break
                self.keep(key, value)

    def keep(self, key, value):
        if value is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = value

    def compact(self):
        write_journal(self.keys)
        self.journal = open(JOURNAL, "ab", buffering=0)
        self.lines = len(self.keys)

    def write(self, *changes):
        """Keeps `(key, value)` pairs together; they are on the disk when this returns."""
        text = "".join(json.dumps(change) + "\n" for change in changes)
        whole = self.journal.tell()
        try:
            data = text.encode()
            if self.journal.write(data) != len(data):
                raise OSError("the disk took only a part of the write")
            os.fsync(self.journal.fileno())
        except OSError:
            # Half a line must not stay before the next one. The client gets no answer: nothing was kept.
            self.journal.truncate(whole)
            self.journal.seek(whole)
            raise
        for key, value in changes:
            self.keep(key, value)
        self.lines += len(changes)
        if self.lines > COMPACT_AFTER:
            self.journal.close()
            self.compact()

    def put(self, key, value):
        with self.lock:
            self.write((key, value))

    def count(self, name):
        with self.lock:
            value = self.keys.get("counters/" + name, 0) + 1
            self.write(("counters/" + name, value))
            return value

    def append(self, name, value):
        with self.lock:
            number = self.keys.get("numbers/" + name, 0) + 1
            key = f"{name}/{number:06}"
            changes = [("numbers/" + name, number), (key, value)]
            oldest = f"{name}/{number - MAX_APPENDED:06}"
            if oldest in self.keys:
                changes.append((oldest, None))
            self.write(*changes)
            return key

    def get(self, key):
        with self.lock:
            return self.keys.get(key)

    def last(self, prefix, number):
        with self.lock:
            found = sorted(key for key in self.keys if key.startswith(prefix))
            return [{"key": key, "value": self.keys[key]} for key in found[-number:]]


def write_journal(keys):
    """Puts a journal with just these keys in place of the old one, or leaves the old one."""
    with open(JOURNAL + ".new", "wb") as journal:
        for item in keys.items():
            journal.write(json.dumps(item).encode() + b"\n")
        journal.flush()
        os.fsync(journal.fileno())
    os.replace(JOURNAL + ".new", JOURNAL)
    folder = os.open(DATA, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.answer(200, "ok")
        elif url.path == "/keys":
            query = parse_qs(url.query)
            wanted = query.get("last", [""])[-1]
            number = min(int(wanted), MAX_LISTED) if wanted.isdecimal() and int(wanted) > 0 else MAX_LISTED
            self.answer(200, self.server.store.last(query.get("prefix", [""])[-1], number))
        elif key := self.after("/keys/"):
            value = self.server.store.get(key)
            if value is None:
                self.answer(404, f"no key {key}")
            else:
                self.answer(200, value)
        else:
            self.answer(404, "no such page")

    def do_PUT(self):
        key, (good, value) = self.after("/keys/"), self.body()
        if not good:
            return
        if not key or value is None:
            self.answer(400, "PUT /keys/KEY with a JSON value that is not null")
            return
        self.server.store.put(key, value)
        self.answer(200, value)

    def do_POST(self):
        good, value = self.body()
        if not good:
            return
        if name := self.after("/counters/"):
            self.answer(200, self.server.store.count(name))
        elif (name := self.after("/append/")) and value is not None:
            self.answer(201, self.server.store.append(name, value))
        else:
            self.answer(400, "POST /counters/NAME, or POST /append/NAME with a JSON value")

    def after(self, prefix):
        path = urlsplit(self.path).path
        return unquote(path[len(prefix) :]) if path.startswith(prefix) else ""

    def body(self):
        """`(True, value)`, or `(False, None)` when the refusal was already sent."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.answer(413, f"a body needs a Content-Length of at most {MAX_BODY}")
            return False, None
        try:
            text = self.rfile.read(int(length))
            return True, json.loads(text) if text else None
        except ValueError:
            self.answer(400, "the body is not JSON")
            return False, None

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        pass  # two requests a second and more; errors are logged

    def log_message(self, text, *args):
        logging.info(text, *args)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        # HTTPServer's own would look the address up in the DNS, which may take long where there is none.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request, client_address):
        logging.info("request of %s failed: %r", client_address[0], sys.exc_info()[1])


def init(products):
    if os.path.exists(JOURNAL):
        print("the store is there already; its data stays")
        return
    with open(products, encoding="utf-8") as file:
        write_journal({"products": json.load(file)})
    print(f"made the store with the products of {products}")


def lock(pidfile):
    """True when no daemon lives; the lock is ours then."""
    try:
        fcntl.flock(pidfile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def open_pidfile():
    return os.fdopen(os.open(PIDFILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")


def start(ip, port):
    pidfile = open_pidfile()
    if not lock(pidfile):
        print(f"the store runs already, as process {pidfile.read().strip()}")
        return
    ready, told = os.pipe()
    if os.fork() == 0:
        os.close(ready)
        os.setsid()
        if os.fork() == 0:
            daemon(ip, int(port), pidfile, told)
        os._exit(0)
    os.close(told)
    pidfile.close()
    # The daemon writes one line when it listens; it writes why, or nothing at all, when it cannot.
    with os.fdopen(ready) as pipe:
        message = pipe.read().strip()
    if not message.startswith("ready"):
        sys.exit(f"the store did not start: {message or 'it died; see store.log'}")
    print(f"the store listens on {ip}:{port}, {message}")


def daemon(ip, port, pidfile, told):
    code = 1
    try:
        log_to_file()
        server = Server((ip, port), Handler)
        server.store = Store()
        pidfile.seek(0)
        pidfile.truncate()
        pidfile.write(f"{os.getpid()}\n")
        pidfile.flush()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        os.write(told, f"ready as process {os.getpid()}\n".encode())
        os.close(told)
        told = None
        logging.info("listening on %s:%s with %s keys", ip, port, len(server.store.keys))
        server.serve_forever()
    except SystemExit:
        logging.info("stopped")
        code = 0
    except Exception as error:
        logging.exception("the store failed")
        if told is not None:
            os.write(told, str(error).encode())
    finally:
        logging.shutdown()
        os._exit(code)


def log_to_file():
    """Leaves the agent's pipes, which would keep the start step waiting, for a file of bounded size."""
    path = os.path.join(os.environ.get("ROBO_LOG_DIR") or DATA, "store.log")
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[handler])
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def stop():
    pidfile = open_pidfile()
    if lock(pidfile):
        print("the store does not run")
        return
    pid = pidfile.read().strip()
    if not pid.isdecimal():
        sys.exit("the store is just starting; try again in a moment")
    pid = int(pid)
    os.kill(pid, signal.SIGTERM)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(STOP_SECONDS)
    fcntl.flock(pidfile, fcntl.LOCK_EX)  # ours when the daemon is gone
    signal.alarm(0)
    print("stopped")


def main():
    if not DATA:
        sys.exit("ROBO_DATA_DIR is not set: the agent says there where the data goes")
    commands = {"init": init, "start": start, "stop": stop}
    command = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is None:
        sys.exit(__doc__)
    command(*sys.argv[2:])


if __name__ == "__main__":
    main()
