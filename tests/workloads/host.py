"""Hosts the workload inside a Python process that has imported xllamacpp, as its users do.

usage: host.py WHEEL_FOLDER WORKLOAD.so [option...] [step...]
"""

import ctypes
import sys

sys.path.insert(0, sys.argv[1])
import xllamacpp.xllamacpp as runtime  # noqa: E402

arguments = ["llama", "--library", runtime.__file__, *sys.argv[3:]]
workload = ctypes.CDLL(sys.argv[2])
workload.workload_main.restype = ctypes.c_int
vector = (ctypes.c_char_p * len(arguments))(*[a.encode() for a in arguments])
sys.exit(workload.workload_main(len(arguments), vector))
