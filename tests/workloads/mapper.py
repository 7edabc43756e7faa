"""Maps the first page of a file as executable, says so, and waits.

usage: mapper.py FILE
"""

import mmap
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

from reporting import start, wait  # noqa: E402

start()
with open(sys.argv[1], "rb") as file:
    mapping = mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    first = mapping[0]
for what in ("mapped", "still there"):
    wait(what)
