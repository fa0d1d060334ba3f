#!/usr/bin/env python3
"""Prints what an idle agent costs: processor time, and bytes on the wire. Never fails by time.

    cargo build --profile dist --package robo-cli --package robo-agent
    python3 tests/bench/idle.py [target/dist] [SECONDS]

One manager, one agent, one instance that does nothing, default heartbeat. A proxy between the two counts the bytes that
TCP carries (both ways, TLS included, headers of IP and TCP not), after the first minute; headers are added as 52
bytes for each piece that was sent, and as many for its acknowledgement.
"""

import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "target/dist")
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 300
ROBO, AGENT = str(BINARIES / "robo"), str(BINARIES / "robo-agent")
HEADERS = 52
GRAPH = """application idle {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Sleeper;
}
Sleeper {
	installer: process;
	run: sleep 1000000;
}
instance of Machine {
	name: device;
	instance of Sleeper {
		name: sleeper;
	}
}
"""


class Counter:
    def __init__(self, to):
        self.to, self.bytes, self.pieces = to, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            here, _ = self.listener.accept()
            there = socket.create_connection(self.to)
            threading.Thread(target=self.copy, args=(here, there), daemon=True).start()

    def copy(self, here, there):
        other = {here: there, there: here}
        while True:
            for side in select.select([here, there], [], [])[0]:
                data = side.recv(65536)
                if not data:
                    here.close()
                    there.close()
                    return
                other[side].sendall(data)
                self.bytes += len(data)
                self.pieces += 1


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    number = lambda name: int(re.search(rf"^{name}: *(\d+)", text, re.M)[1])
    return number("Rss") / 1024, (number("Private_Clean") + number("Private_Dirty")) / 1024


def wait(what, look):
    for _ in range(1200):
        found = look()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"waited in vain for: {what}")


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="robo-idle-"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ROBO_CONFIG_DIR": str(folder / "config"),
        "ROBO_STATE_DIR": str(folder / "state"),
    }
    started = []

    def robo(*words):
        done = subprocess.run([ROBO, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 2):
            sys.exit(f"robo {words}: {done.stderr}")
        return done.stdout

    try:
        ready, data = folder / "ready", folder / "data"
        words = [ROBO, "manager", "--listen", "127.0.0.1:0", "--data", str(data), "--ready-file", str(ready)]
        started.append(subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL))
        host, port = wait("the manager", lambda: ready.exists() and ready.read_text().strip()).split(":")
        robo("context", "add", "idle", "--url", f"https://{host}:{port}", "--ca", str(data / "ca.pem"), "--token-file", str(data / "admin.token"))
        token = folder / "token"
        token.write_text(robo("device", "enroll", "device"))
        counter = Counter((host, int(port)))
        proxy = "127.0.0.1:%d" % counter.listener.getsockname()[1]
        words = [AGENT, "--manager", proxy, "--token-file", str(token), "--state", str(folder / "agent"), "--address", "127.0.0.1"]
        agent = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        started.append(agent)
        wait("the device", lambda: '"online": true' in robo("device", "list", "-o", "json"))
        graph = folder / "app.graph"
        graph.write_text(GRAPH)
        robo("apply", "--yes", str(graph))
        time.sleep(60)
        before = cpu(agent.pid), counter.bytes, counter.pieces, time.monotonic()
        time.sleep(SECONDS)
        seconds = time.monotonic() - before[3]
        used, sent, pieces = cpu(agent.pid) - before[0], counter.bytes - before[1], counter.pieces - before[2]
        wire = sent + 2 * HEADERS * pieces
        rss, own = resident(agent.pid)
        print(f"idle agent over {seconds:.0f} s: {used:.2f} s of processor time = {used / seconds * 100:.3f} %")
        print(f"  resident {rss:.1f} MiB, of that its own {own:.1f} MiB")
        print(f"  on the wire: {sent} bytes in {pieces} pieces = {sent / seconds * 3600:.0f} bytes an hour,")
        print(f"  with TCP/IP headers and acknowledgements {wire / seconds * 3600:.0f} an hour = {wire / seconds * 3600 * 24 * 30 / 1e6:.1f} MB in 30 days")
        robo("delete", "idle", "--yes")
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
