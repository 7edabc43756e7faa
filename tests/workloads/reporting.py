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


def wait(what):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)


def called(function, **values):
    """One call of a function that a profile names, with what was passed and what came back."""
    report("call", function=function, values=values)
