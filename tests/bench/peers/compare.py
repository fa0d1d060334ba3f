#!/usr/bin/env python3
"""Runs `true` on 10 and 100 devices of this machine, by robo, Salt and Ansible in turn. Prints figures, judges nothing.

    cargo build --release -p robo-cli -p robo-agent
    python3 tests/bench/peers/compare.py [target/release] [--counts 10,100] [--rounds 5] [--only robo,salt,ansible]

Salt and Ansible come from PyPI, into a folder below `target/`; `sshd` has to be there for Ansible. Every device is a
process of its own: a robo agent, a Salt minion, or an address of the loopback on which one `sshd` listens (Ansible
needs no agent). Everybody listens on the loopback only, on ports of its own, and ends with this program.

Times count from the start of the command, as a user types it, to the first and to the last device's verdict on standard
output, and to the end of the command. Resident memory is that of the server's and of one device's processes, as they
are after the rounds.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent
PEERS = ROOT / "target" / "peers"
# By its path: Salt takes the bare word for a truth value.
COMMAND = "/bin/true"


def port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait(what, look, seconds=900):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"waited in vain for: {what}")


def tree(pids):
    """These processes and all below them."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo.extend(parents.get(pid, []))
    return found


def memory(pids):
    """Proportional resident memory of the processes and all below them, in MiB."""
    total = 0
    for pid in tree(pids):
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def install():
    if not (PEERS / "bin" / "ansible").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        pip = [str(PEERS / "bin" / "pip"), "install", "-q", "-r", str(HERE / "requirements.txt")]
        subprocess.run(pip, check=True)


def timed(words, environment, is_verdict, count):
    """Seconds to the first verdict, to the last one, and to the end."""
    began = time.monotonic()
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = []
    errors = threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True)
    errors.start()
    seen, lines = [], []
    for line in process.stdout:
        lines.append(line)
        if is_verdict(line):
            seen.append(time.monotonic() - began)
    code = process.wait()
    end = time.monotonic() - began
    errors.join()
    if code != 0 or len(seen) != count:
        sys.exit(f"{words}: {len(seen)} of {count} verdicts, exit code {code}\n{''.join(lines[-20:])}{said[0][-4000:]}")
    return seen[0], seen[-1], end


class Tool:
    """What all have: a folder, processes that end with it, an environment without the user's settings."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        folder.mkdir(parents=True)
        self.environment = {"PATH": f"{PEERS / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    def start(self, words, log="log"):
        output = open(self.folder / log, "ab")
        process = subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.started.append(process)
        return process.pid

    def run(self, *words):
        done = subprocess.run(words, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def end(self):
        for process in reversed(self.started):
            for pid in tree([process.pid]):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            process.wait()


class Robo(Tool):
    def __init__(self, folder, binaries):
        super().__init__(folder)
        self.robo, self.agent = str(binaries / "robo"), str(binaries / "robo-agent")
        self.environment |= {"ROBO_CONFIG_DIR": str(folder / "config"), "ROBO_STATE_DIR": str(folder / "state")}

    def begin(self, count):
        ready, data = self.folder / "ready", self.folder / "data"
        self.server = self.start([self.robo, "manager", "--listen", "127.0.0.1:0", "--data", str(data), "--ready-file", str(ready)])
        address = wait("robo's manager", lambda: ready.exists() and ready.read_text().strip())
        self.run(self.robo, "context", "add", "peers", "--url", f"https://{address}", "--ca", str(data / "ca.pem"), "--token-file", str(data / "admin.token"))
        token = self.folder / "token"
        token.write_text(self.run(self.robo, "device", "enroll", "--uses", str(count))[1])
        self.devices = []
        for number in range(count):
            words = [self.agent, "--manager", address, "--token-file", str(token), "--name", f"d{number}", "--state", str(self.folder / f"d{number}"), "--address", "127.0.0.1"]
            self.devices.append(self.start(words))
        online = lambda: sum(d["online"] for d in json.loads(self.run(self.robo, "device", "list", "-o", "json")[1] or "[]"))
        wait("robo's agents", lambda: online() == count)

    def round(self, count):
        is_verdict = lambda line: "verdict" in json.loads(line)
        return timed([self.robo, "exec", "--all", "-o", "json", "--", COMMAND], self.environment, is_verdict, count)


class Salt(Tool):
    def begin(self, count):
        publish, answers = port(), port()
        common = {"interface": "127.0.0.1", "publish_port": publish, "ret_port": answers, "user": os.environ.get("USER", "root")}
        master = self.folder / "master"
        self.write(master, "master", common | {"auto_accept": True, "worker_threads": 5, "timeout": 120, "gather_job_timeout": 60})
        self.server = self.start(["salt-master", "-c", str(master), "-l", "error"])
        self.devices = []
        for number in range(count):
            folder = self.folder / f"d{number}"
            self.write(folder, "minion", {"id": f"d{number}", "master": "127.0.0.1", "master_port": answers, "publish_port": publish, "multiprocessing": False, "user": common["user"]})
            self.devices.append(self.start(["salt-minion", "-c", str(folder), "-l", "error"]))
            if number % 10 == 9:
                # Their start takes seconds of a processor; all at once would run into their own time limits.
                wait("Salt's keys", lambda: self.accepted() >= number)
        wait("Salt's minions", lambda: self.answering() == count)

    def write(self, folder, name, settings):
        folder.mkdir()
        settings |= {"root_dir": str(folder), "pki_dir": str(folder / "pki"), "log_level_logfile": "quiet"}
        (folder / name).write_text(json.dumps(settings))

    def accepted(self):
        return len(list((self.folder / "master" / "pki" / "minions").glob("*")))

    def answering(self):
        code, out, _ = self.run("salt", "-c", str(self.folder / "master"), "--static", "--out=json", "-t", "60", "*", "test.ping")
        try:
            return sum(value is True for value in json.loads(out).values())
        except ValueError:
            return 0

    def round(self, count):
        # One line for each minion as it answers.
        words = ["salt", "-c", str(self.folder / "master"), "-t", "120", "--out=json", "--out-indent=-1", "*", "cmd.retcode", COMMAND]
        return timed(words, self.environment, lambda line: line.strip().endswith(": 0}"), count)


class Ansible(Tool):
    def begin(self, count):
        sshd, listen, user = shutil.which("sshd") or "/usr/sbin/sshd", port(), os.environ.get("USER", "root")
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        settings = {
            "Port": listen,
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "MaxStartups": 1000,
            "MaxSessions": 1000,
            "Subsystem": "sftp internal-sftp",
        }
        (self.folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()) + "ListenAddress 0.0.0.0\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.server = self.start([sshd, "-D", "-f", str(self.folder / "sshd_config")])
        self.devices = []
        hosts = [f"d{n} ansible_host=127.0.1.{n + 1}" for n in range(count)]
        options = [f"ansible_port={listen}", f"ansible_user={user}", f"ansible_ssh_private_key_file={self.folder / 'user'}", f"ansible_python_interpreter={sys.executable}"]
        (self.folder / "hosts").write_text("[all]\n" + "\n".join(hosts) + "\n[all:vars]\n" + "\n".join(options) + "\n")
        self.environment |= {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "True", "ANSIBLE_DEPRECATION_WARNINGS": "False"}
        wait("sshd", lambda: socket.socket().connect_ex(("127.0.0.1", listen)) == 0)

    def round(self, count):
        # The module that runs a command, with as many at a time as there are hosts: its fastest ordinary setting.
        words = ["ansible", "all", "-i", str(self.folder / "hosts"), "-f", str(count), "-m", "command", "-a", COMMAND]
        return timed(words, self.environment, lambda line: " | CHANGED" in line or " | SUCCESS" in line, count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binaries", nargs="?", default="target/release")
    parser.add_argument("--counts", default="10,100")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="robo,salt,ansible")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if names != ["robo"]:
        install()
    binaries = (ROOT / arguments.binaries).resolve()
    print(f"{'':24}{'first':>9}{'last':>9}{'end':>9}{'server':>12}{'a device':>12}")
    for count in (int(number) for number in arguments.counts.split(",")):
        for name in names:
            folder = pathlib.Path(tempfile.mkdtemp(prefix=f"robo-peers-{name}-"))
            make = {"robo": lambda f: Robo(f, binaries), "salt": Salt, "ansible": Ansible}[name]
            tool = make(folder / name)
            try:
                tool.begin(count)
                tool.round(count)
                rounds = [tool.round(count) for _ in range(arguments.rounds)]
                times = [statistics.median(column) for column in zip(*rounds)]
                device = f"{memory(tool.devices) / count:8.1f} MiB" if tool.devices else f"{'none':>12}"
                print(f"{name:<10}{count:>5} devices" + "".join(f"{t * 1000:>7.0f}ms" for t in times) + f"{memory([tool.server]):8.1f} MiB{device}", flush=True)
            finally:
                tool.end()
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
