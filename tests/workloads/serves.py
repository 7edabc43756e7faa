"""usage: serves.py STEPS FOLDER...

Serves a model in ONNX Runtime step after step, for measuring: each is one inference of 32 tokens on 24 layers,
of some milliseconds on one thread. It waits once, and reports `first` when it has its first answer, `measured` when
it is warm and when it is done.
"""

import os
import sys
import time

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import tiny  # noqa: E402
from reporting import report, start, wait  # noqa: E402

WARM_UP = 10

steps = int(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(tiny.onnx_layers(768, 24), options, providers=["CPUExecutionProvider"])
ids = numpy.arange(32, dtype=numpy.int64)
start()
wait("serve")
for number in range(WARM_UP + steps + 1):
    if number in (WARM_UP, WARM_UP + steps):
        report("measured", calls=number - WARM_UP, warm_up=WARM_UP, cpu_ns=time.process_time_ns(), checksum=int(answer.argmax()))
    if number < WARM_UP + steps:
        begin = time.monotonic_ns()
        (answer,) = session.run(None, {"ids": (ids + number) % 100})
        if number == 0:
            report("first", took_ns=time.monotonic_ns() - begin)
