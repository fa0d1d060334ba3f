#!/usr/bin/env python3
"""Prints figures of the shop on this machine: how long, how much memory, how large. Never fails by time.

    cargo build --release --package robo-cli --package robo-agent
    python3 tests/bench/shop.py [target/release]

Every figure is a median of RUNS; the floor of spawning is measured in the same run.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 20
ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "target/release")
ROBO = str(BINARIES / "robo")
GRAPH = str(ROOT / "examples/shop/app.graph")


def milliseconds(command, environment, runs=RUNS, expect=0):
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        times.append((time.perf_counter() - begin) * 1000)
        if done.returncode != expect:
            sys.exit(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    return statistics.median(times), min(times), max(times)


def show(what, figures):
    median, low, high = figures
    print(f"{what:<58} {median:9.1f} ms   ({low:.1f} to {high:.1f})")


def resident(pid):
    """Resident memory of a process in MiB, split into its own and what it shares with others."""
    fields = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            name, value = line.split(":")
            fields[name] = int(value.split()[0])
    own = fields["Private_Clean"] + fields["Private_Dirty"]
    return fields["Rss"] / 1024, own / 1024


def processes(folder):
    """The processes that work below `folder`, by what they are."""
    found = {"manager": [], "agent": [], "keeper": []}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if len(words) > 1 and words[1] in found and any(folder in word for word in words):
            found[words[1]].append(int(entry.name))
    return found


def main():
    folder = tempfile.mkdtemp(prefix="robo-bench-")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "ROBO_CONFIG_DIR": f"{folder}/config",
        "ROBO_STATE_DIR": f"{folder}/state",
    }
    try:
        for name in ("robo", "robo-agent"):
            print(f"{'size of ' + name:<58} {(BINARIES / name).stat().st_size / 1e6:9.1f} MB")
        show("spawning `true`, the floor", milliseconds(["true"], environment))
        show("robo --version", milliseconds([ROBO, "--version"], environment))
        begin = time.perf_counter()
        subprocess.run([ROBO, "up", "--detach", GRAPH], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        print(f"{'robo up of the shop, five enrolments included':<58} {(time.perf_counter() - begin) * 1000:9.1f} ms   (once)")
        applies = []
        for _ in range(5):
            subprocess.run([ROBO, "undeploy", "shop"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
            begin = time.perf_counter()
            subprocess.run([ROBO, "apply", "--yes", GRAPH], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
            applies.append((time.perf_counter() - begin) * 1000)
        show("robo apply of the shop, undeployed to all started", (statistics.median(applies), min(applies), max(applies)))
        show("robo apply again, nothing changes", milliseconds([ROBO, "apply", "--yes", GRAPH], environment))
        show("robo status", milliseconds([ROBO, "status"], environment))
        show("robo exec web-1 -- true", milliseconds([ROBO, "exec", "web-1", "--", "true"], environment))
        show("robo exec --all -- true (five agents)", milliseconds([ROBO, "exec", "--all", "--", "true"], environment))
        time.sleep(10)  # idle figures need idle processes
        for what, pids in processes(folder).items():
            sizes = [resident(pid) for pid in pids]
            if sizes:
                rss = statistics.median(size[0] for size in sizes)
                own = statistics.median(size[1] for size in sizes)
                print(f"{'idle ' + what + f' ({len(pids)}): resident, of that its own':<58} {rss:9.1f} MiB  {own:.1f} MiB")
        ticks = {pid: cpu(pid) for pid in processes(folder)["agent"]}
        time.sleep(30)
        used = [(cpu(pid) - before) / os.sysconf("SC_CLK_TCK") / 30 * 100 for pid, before in ticks.items()]
        print(f"{'idle agent: CPU over 30 s':<58} {statistics.median(used):9.2f} %")
        status = json.loads(subprocess.run([ROBO, "status", "-o", "json"], env=environment, capture_output=True, check=True).stdout)
        print(f"{'instances':<58} {len(status['instances']):9}")
    finally:
        subprocess.run([ROBO, "down", "--purge"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
