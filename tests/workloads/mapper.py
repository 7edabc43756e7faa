"""Maps the first page of a file as executable, says so, and waits.

usage: mapper.py FILE
"""

import json
import mmap
import os
import sys
import threading
import time


def report(event, **fields):
    line = {"ev": event, "tid": threading.get_native_id(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    os.write(1, (json.dumps(line | fields) + "\n").encode())


report("start", pid=os.getpid(), uid=os.getuid())
with open(sys.argv[1], "rb") as file:
    mapping = mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    first = mapping[0]
for what in ("mapped", "still there"):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)
