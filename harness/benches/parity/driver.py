"""Runs tests with upstream's own engine, one process a test.

    driver.py TESTS_DIR RESULTS SCALE MODULES [ID...]

Imports `runtime/engine` of TESTS_DIR as it is and calls its `run_test` in
upstream's order, with its time limits multiplied by SCALE. Each test appends a
JSON line to RESULTS when it starts and one when it has ended; what RESULTS has
already is not run again. The engine can hang or die on a test, so each runs in
a child, which inherits what the engine remembers, and has a deadline.

The tests that look for modules come last, with MODULES (separated by commas)
loaded, as kiln has it.
"""

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
import types
from collections import Counter

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

tests_dir, results_path, scale, modules, *wanted = sys.argv[1:]
scale = float(scale)
os.chdir(tests_dir)
sys.dont_write_bytecode = True
sys.path.insert(0, "runtime/engine")
# Engines before 0.20 want the directory of bpftrace.
with open("runtime/engine/runner.py") as engine:
    if "BPF_PATH" in engine.read():
        name = "BPFTRACE_RUNTIME_TEST_EXECUTABLE"
        os.environ[name] = os.path.dirname(os.environ[name])
# CMake would generate it; only tests of AOT ask for this feature.
cmake_vars = types.ModuleType("cmake_vars")
cmake_vars.LIBBCC_BPF_CONTAINS_RUNTIME = False
sys.modules["cmake_vars"] = cmake_vars

from parser import TestParser  # noqa: E402
import runner  # noqa: E402

runner.ATTACH_TIMEOUT = math.ceil(runner.ATTACH_TIMEOUT * scale)
Runner = runner.Runner
STATUS = {
    Runner.PASS: "pass",
    Runner.FAIL: "fail",
    Runner.TIMEOUT: "timeout",
}


def record(**fields):
    with open(results_path, "a") as out:
        out.write(json.dumps(fields) + "\n")
        out.flush()
        os.fsync(out.fileno())


def finished_before():
    """How many tests of each id have ended in earlier runs.

    Ids are not unique. A test that began and has no end took its VM along.
    """
    begun, ended = Counter(), Counter()
    try:
        with open(results_path) as lines:
            for line in lines:
                entry = json.loads(line)
                if "id" not in entry:
                    continue
                counter = begun if entry["event"] == "started" else ended
                counter[entry["id"]] += 1
    except FileNotFoundError:
        pass
    for test_id in begun - ended:
        ended[test_id] += 1
        record(event="finished", id=test_id, verdict="lost", ms=0,
               output="the VM ended under it")
    return ended


def descendants():
    """Everything below this process; orphans come back to it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found, new = set(), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def kill_all():
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def reap():
    """Orphans that have ended; the child of a test is waited for by its id."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def run(test, output_path):
    """In the child: the exit status is the engine's status."""
    out = os.open(output_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        status = Runner.run_test(test)
        if Runner.skipped(status):
            print(Runner.skip_reason(test, status))
    except BaseException:
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def verdict(status):
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        if code in STATUS:
            return STATUS[code]
        if Runner.skipped(code):
            return "skip"
    return "crash"


def needs_modules(entry):
    return any("lsmod" in command for command in entry[1].requirement)


ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
done = finished_before()
output_path = "/tmp/kiln-parity-output"
everything = [
    ("%s.%s" % (suite, test.name), test)
    for suite, tests in sorted(TestParser.read_all(False))
    for test in sorted(tests)
]
# Stable: upstream's order within each half.
everything.sort(key=needs_modules)
loaded = False
for test_id, test in everything:
    if wanted and test_id not in wanted:
        continue
    if done[test_id]:
        done[test_id] -= 1
        continue
    if modules and not loaded and needs_modules((test_id, test)):
        loaded = True
        subprocess.run(["modprobe", "-a", *modules.split(",")], check=True)
    limit = test.timeout or runner.DEFAULT_TIMEOUT
    test = test._replace(timeout=math.ceil(limit * scale))
    start = time.monotonic()
    record(event="started", id=test_id)
    if test.feature_requirement or test.neg_feature_requirement:
        Runner._Runner__get_bpffeature()  # once a run, as upstream has it
    # BEFORE, attach and TIMEOUT one after the other, and as much again.
    deadline = start + 2 * (2 * test.timeout + runner.ATTACH_TIMEOUT) + 20
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        run(test, output_path)
    ended = 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            time.sleep(0.02)
    if ended:
        result = verdict(status)
    else:
        result = "hang"
        kill_all()
        os.waitpid(child, 0)
    reap()
    ms = round(1000 * (time.monotonic() - start))
    with open(output_path, errors="backslashreplace") as text:
        output = text.read(16384)
    record(event="finished", id=test_id, verdict=result, ms=ms, output=output)
    print("%-8s %s (%d ms)" % (result, test_id, ms), flush=True)
record(event="done")
