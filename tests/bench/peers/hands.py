#!/usr/bin/env python3
"""What an operator's hands feel, beside plain OpenSSH on the same machine. Prints figures, judges nothing.

    cargo build --release -p robo-cli -p robo-agent
    python3 tests/bench/peers/hands.py [target/release] [--keys 500] [--megabytes 1024] [--rounds 3]

A key: from its byte into the terminal of `robo shell` or `ssh` until the device's echo of it is back. A copy: `robo cp`
and `scp` of a file of random bytes, to the device and back, whole commands with their start; robo goes through its
manager and checks a checksum, `scp` goes straight. All of it over the loopback.
"""

import argparse
import os
import pathlib
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import time
import tty

from compare import ROOT, Ansible, Robo


def read_until(terminal, wanted, seconds=30):
    seen, end = b"", time.monotonic() + seconds
    while wanted not in seen:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit(f"waited in vain for {wanted!r} after {seen!r}")
        seen += os.read(terminal, 65536)


def keys(words, environment, count):
    """Round trips in milliseconds."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, environment | {"TERM": "xterm"})
    tty.setraw(terminal, termios.TCSANOW)
    # Typed only once the other side reads: what it says is `ready`, which is not what is typed.
    os.write(terminal, b"stty raw -echo; printf 're%s\\n' ady; exec cat\r")
    read_until(terminal, b"ready")
    times = []
    for number in range(count):
        key = bytes([ord("a") + number % 26])
        time.sleep(0.005)
        began = time.perf_counter()
        os.write(terminal, key)
        read_until(terminal, key)
        times.append((time.perf_counter() - began) * 1000)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return times


def copied(words, environment):
    began = time.monotonic()
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr}")
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binaries", nargs="?", default="target/release")
    parser.add_argument("--keys", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="robo-hands-"))
    robo, ssh = Robo(folder / "robo", (ROOT / arguments.binaries).resolve()), Ansible(folder / "ssh")
    try:
        robo.begin(1)
        ssh.begin(1)
        listen = (ssh.folder / "sshd_config").read_text().splitlines()[0].split()[1]
        options = ["-F", "none", "-i", str(ssh.folder / "user"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        for name, words, tool in (
            ("robo shell", [robo.robo, "shell", "d0"], robo),
            ("ssh", ["ssh", "-tt", "-p", listen, *options, "127.0.0.1"], ssh),
        ):
            times = sorted(keys(words, tool.environment, arguments.keys))
            print(f"a key through {name:<12} p50 {times[len(times) // 2]:7.2f} ms   p99 {times[len(times) * 99 // 100]:7.2f} ms", flush=True)
        source, there, back = folder / "source", folder / "there", folder / "back"
        with open(source, "wb") as file:
            for _ in range(arguments.megabytes):
                file.write(os.urandom(1 << 20))
        kinds = {
            "robo cp, to the device": ([robo.robo, "cp", str(source), f"d0:{there}"], robo),
            "robo cp, back": ([robo.robo, "cp", f"d0:{source}", str(back)], robo),
            "scp, to the device": (["scp", "-q", "-P", listen, *options, str(source), f"127.0.0.1:{there}"], ssh),
            "scp, back": (["scp", "-q", "-P", listen, *options, f"127.0.0.1:{source}", str(back)], ssh),
        }
        times = {name: [] for name in kinds}
        for _ in range(arguments.rounds):
            for name, (words, tool) in kinds.items():
                for made in (there, back):
                    made.unlink(missing_ok=True)
                times[name].append(copied(words, tool.environment))
        for name, all_times in times.items():
            seconds = statistics.median(all_times)
            print(f"{name:<26}{arguments.megabytes:>6} MiB in {seconds:6.2f} s = {arguments.megabytes / seconds:6.0f} MiB/s", flush=True)
    finally:
        robo.end()
        ssh.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
