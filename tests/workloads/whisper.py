"""usage: whisper.py LIBRARY MODEL

Calls the real whisper.cpp and reports what it passed. A struct of parameters is passed by value with
its first two members changed: the sampling strategy and the number of threads.
"""

import ctypes
import json
import os
import struct
import sys
import threading
import time


def report(event, **more):
    line = {"ev": event, "tid": threading.get_native_id(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    print(json.dumps(line | more), flush=True)


def wait(what):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)


lib = ctypes.CDLL(sys.argv[1])
model = sys.argv[2]


class Params(ctypes.Structure):
    # Larger than the library's own struct, whose layout is not ours to know.
    _fields_ = [("bytes", ctypes.c_uint8 * 512)]


lib.whisper_init_from_file.restype = ctypes.c_void_p
lib.whisper_full_default_params_by_ref.restype = ctypes.c_void_p
lib.whisper_full.argtypes = [ctypes.c_void_p, Params, ctypes.c_void_p, ctypes.c_int]
lib.whisper_free.argtypes = [ctypes.c_void_p]

report("start", pid=os.getpid(), uid=os.getuid())
wait("call")
for path in ("/nowhere/model.bin", model):
    context = lib.whisper_init_from_file(path.encode())
    report("call", function="load", values={"path": path})
for threads, samples in ((1, 16000), (2, 24000)):
    params = Params()
    ctypes.memmove(params.bytes, lib.whisper_full_default_params_by_ref(0), 128)
    struct.pack_into("<ii", params.bytes, 0, 0, threads)
    result = lib.whisper_full(context, params, (ctypes.c_float * samples)(), samples)
    values = {"strategy": "greedy", "threads": threads, "samples": samples, "result": result}
    report("call", function="full", values=values)
lib.whisper_free(context)
report("call", function="free", values={})
wait("end")
