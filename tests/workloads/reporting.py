"""What the Python workloads say: one JSON object a line, and a pause where the test wants one."""

import json
import os
import sys
import threading
import time


def report(event, **fields):
    line = {"ev": event, "tid": threading.get_native_id(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    os.write(1, (json.dumps(line | fields) + "\n").encode())


def start():
    report("start", pid=os.getpid(), uid=os.getuid())


def says_version(version):
    """What the library's own function, as its callers have it, says of its version."""
    report("version", version=version.decode())


def wait(what):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)


def called(function, took=None, unwound=False, **values):
    """One call of a function that a profile names, with what was passed and what came back, how many
    nanoseconds it took, and whether an exception left it."""
    report("call", function=function, values=values, took_ns=took, unwound=unwound)


def loaded(path, well=True):
    """A model was loaded from a file, or from memory; well is whether that succeeded, None where the library
    does not tell."""
    report("load", path=path, loaded=well)


def released():
    """A model was released."""
    report("released")


def timed(work):
    """Calls it, catches what it raises, and tells how many nanoseconds that took: (answer, problem, took)."""
    begin = time.monotonic_ns()
    answer = problem = None
    try:
        answer = work()
    except Exception as refused:
        problem = refused
    return answer, problem, time.monotonic_ns() - begin
