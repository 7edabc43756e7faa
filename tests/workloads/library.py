"""Runs a Python runtime the same way again and again, and reports a checksum of what it answered.

usage: library.py onnx|openvino|ctranslate2|tokenizers FOLDER...

Each round is one `counts` line, before which it waits; what it answers must not depend on whether
somebody watches. Each round also makes the library fail once, which it does by an exception of its
own that it catches.
"""

import os
import sys
import tempfile
import zlib

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import tiny  # noqa: E402
from reporting import report, start, wait  # noqa: E402

ROUNDS = 3


def onnx():
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    model = tiny.onnx()

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


def openvino():
    import numpy
    import openvino as library

    core = library.Core()
    model = tiny.onnx()
    # One thread: what runs must not depend on how work is shared.
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}

    def work():
        request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
        answers = []
        for count in (1, 5, 17):
            answers += request.infer({"ids": numpy.arange(count, dtype=numpy.int64)}).values()
        try:
            core.read_model(b"this is no model")
        except RuntimeError:
            answers.append(numpy.zeros(1))
        return b"".join(answer.tobytes() for answer in answers)

    return work


def ctranslate2():
    import ctranslate2 as library

    folder = tempfile.TemporaryDirectory()
    tiny.ctranslate2(folder.name)

    def work():
        generator = library.Generator(folder.name, inter_threads=1, intra_threads=1)
        answers = []
        for prompts in ([["<s>", "t5"], ["<s>", "t7"]], [["<s>", "t1", "t250"]]):
            for result in generator.generate_batch(prompts, max_length=6, min_length=6):
                answers.append(" ".join(result.sequences[0]))
        try:
            library.Generator("/nowhere")
        except RuntimeError as refused:
            answers.append(str(refused))
        return "\n".join(answers).encode()

    return work


start()
runtimes = {"onnx": onnx, "openvino": openvino, "ctranslate2": ctranslate2, "tokenizers": tokenizers}
work = runtimes[sys.argv[1]]()
work()
for number in range(ROUNDS):
    wait(f"round {number}")
    report("counts", functions={}, checksum=zlib.crc32(work()))
wait("the end")
