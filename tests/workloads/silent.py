"""usage: silent.py SECONDS FOLDER...

Loads every runtime of the packages, calls none of them, and is busy otherwise: it waits, uses that much CPU time on
two threads, and waits again.
"""

import ctypes
import hashlib
import os
import sys
import threading
import time

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import ctranslate2  # noqa: E402, F401
import onnxruntime  # noqa: E402, F401
import openvino  # noqa: E402, F401
import safetensors  # noqa: E402, F401
import tokenizers  # noqa: E402, F401
import xllamacpp  # noqa: E402, F401
from ai_edge_litert import interpreter  # noqa: E402, F401
from packages import shipped  # noqa: E402
from reporting import report, start, wait  # noqa: E402

kept = [ctypes.CDLL(shipped(library)) for library in ("pywhispercpp.libs/libwhisper-*", "nvidia/*/lib/libcudart.so.*")]


def work(until):
    block = bytes(1 << 20)
    while time.process_time() < until:
        hashlib.sha256(block)


start()
wait("work")
until = time.process_time() + float(sys.argv[1])
threads = [threading.Thread(target=work, args=(until,)) for _ in range(2)]
for thread in threads:
    thread.start()
# A line now and then, however slow the machine is: who reads them gives up on a silent process.
for thread in threads:
    while thread.is_alive():
        thread.join(timeout=5)
        report("measured", calls=0, warm_up=0, cpu_ns=time.process_time_ns(), checksum=0)
wait("end")
