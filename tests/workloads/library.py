"""Runs a Python runtime the same way again and again, and reports a checksum of what it answered.

usage: library.py onnx|tokenizers FOLDER...

Each round is one `counts` line, before which it waits; what it answers must not depend on whether
somebody watches. Each round also makes the library fail once, which it does by an exception of its
own that it catches.
"""

import json
import os
import sys
import threading
import time
import zlib

ROUNDS = 3


def report(event, **fields):
    line = {"ev": event, "tid": threading.get_native_id(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    os.write(1, (json.dumps(line | fields) + "\n").encode())


def wait(what):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)


def field(number, kind, content):
    """One field of a protocol buffer."""
    return varint(number << 3 | kind) + (varint(content) if kind == 0 else varint(len(content)) + content)


def varint(number):
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def text(number, content):
    return field(number, 2, content.encode())


def onnx_model():
    """Tokens to an embedding, a layer, its softmax, and the mean: ModelProto of ONNX."""
    import numpy

    random = numpy.random.default_rng(7)

    def tensor(name, *shape):
        values = random.standard_normal(shape).astype("<f4").tobytes()
        return field(5, 2, b"".join(field(1, 0, size) for size in shape) + field(2, 0, 1) + text(8, name) + field(9, 2, values))

    def node(kind, inputs, output):
        return field(1, 2, b"".join(text(1, name) for name in inputs) + text(2, output) + text(4, kind))

    def value(number, name, kind, *dimensions):
        shape = b"".join(field(1, 2, text(2, size) if isinstance(size, str) else field(1, 0, size)) for size in dimensions)
        of_type = field(1, 2, field(1, 0, kind) + field(2, 2, shape))
        return field(number, 2, text(1, name) + field(2, 2, of_type))

    graph = (
        node("Gather", ["E", "ids"], "e")
        + node("MatMul", ["e", "W"], "m")
        + node("Add", ["m", "B"], "a")
        + node("Relu", ["a"], "r")
        + node("Softmax", ["r"], "s")
        + node("Mul", ["s", "m"], "y")
        + text(2, "graph")
        + tensor("E", 100, 16)
        + tensor("W", 16, 8)
        + tensor("B", 8)
        + value(11, "ids", 7, "N")
        + value(12, "y", 1, "N", 8)
    )
    return field(1, 0, 8) + field(7, 2, graph) + field(8, 2, field(2, 0, 17))


def onnx():
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    model = onnx_model()

    def work():
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        answers = [session.run(None, {"ids": numpy.arange(n, dtype=numpy.int64)})[0] for n in (1, 5, 17)]
        try:
            session.run(None, {"ids": numpy.array([1000], dtype=numpy.int64)})
        except Exception as refused:
            answers.append(numpy.frombuffer(str(refused).encode(), dtype=numpy.uint8))
        return b"".join(answer.tobytes() for answer in answers)

    return work


def tokenizers():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import tokenizers as library

    lines = ["the quick brown fox jumps over the lazy dog", "a probe is cheap where the kernel emulates"] * 8

    def work():
        tokenizer = library.Tokenizer(library.models.BPE(unk_token="[UNK]"))
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        trainer = library.trainers.BpeTrainer(vocab_size=80, special_tokens=["[UNK]"], show_progress=False)
        tokenizer.train_from_iterator(lines, trainer)
        encoded = tokenizer.encode_batch(lines + ["Ünknown Zeichen"])
        answers = [tokenizer.decode(one.ids) for one in encoded]
        try:
            library.Tokenizer.from_str("{")
        except Exception as refused:
            answers.append(str(refused))
        return "\n".join(answers).encode()

    return work


sys.path[:0] = sys.argv[2:]
report("start", pid=os.getpid(), uid=os.getuid())
work = {"onnx": onnx, "tokenizers": tokenizers}[sys.argv[1]]()
work()
for number in range(ROUNDS):
    wait(f"round {number}")
    report("counts", functions={}, checksum=zlib.crc32(work()))
wait("the end")
