"""usage: passes.py RUNTIME FOLDER...

Makes a real runtime run a tiny model, and reports what each of the calls was given that the runtime's
profile names (`tracer-user/profile/tests/runtimes`), and what it gave back. The folders hold the
packages.
"""

import ctypes
import glob
import os
import sys
import tempfile
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import tiny  # noqa: E402
from reporting import called, start, wait  # noqa: E402

SCRATCH = tempfile.TemporaryDirectory()


def kept(name, content):
    path = os.path.join(SCRATCH.name, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def shipped(pattern):
    """The one file of the packages that the pattern names."""
    found = [path for folder in sys.argv[2:] for path in glob.glob(os.path.join(folder, pattern))]
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def succeeded(status):
    assert not status, f"a call that prepares others ended with {status}"


def onnx_c():
    """ONNX Runtime through the table of functions that is its C interface."""
    library = ctypes.CDLL(shipped("onnxruntime/capi/libonnxruntime.so.*"))
    library.OrtGetApiBase.restype = ctypes.POINTER(c_void_p)
    get_api = ctypes.CFUNCTYPE(ctypes.POINTER(c_void_p), c_uint32)(library.OrtGetApiBase()[0])
    table = get_api(20)

    def function(slot, *arguments, result=c_void_p):
        return ctypes.CFUNCTYPE(result, *arguments)(table[slot])

    error_code = function(1, c_void_p, result=c_int)
    error_message = function(2, c_void_p, result=c_char_p)
    create_session = function(7, c_void_p, c_char_p, c_void_p, c_void_p)
    create_from_array = function(8, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p)
    run = function(9, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)
    tensor_from = function(49, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_int, c_void_p)
    environment, options, memory, session = c_void_p(), c_void_p(), c_void_p(), c_void_p()
    succeeded(function(3, c_int, c_char_p, c_void_p)(4, b"test", byref(environment)))
    succeeded(function(10, c_void_p)(byref(options)))
    succeeded(function(24, c_void_p, c_int)(options, 1))  # SetIntraOpNumThreads
    succeeded(function(69, c_int, c_int, c_void_p)(0, 0, byref(memory)))
    model = tiny.onnx()
    path = kept("model.onnx", model)

    def work():
        for name in ("/nowhere/model.onnx", path):
            create_session(environment, name.encode(), options, byref(session))
            called("create-session", path=name)
        create_from_array(environment, model, len(model), options, byref(session))
        called("create-session-from-array", size=len(model))
        for tokens in ([1, 2, 3, 4, 5, 6, 7], [98, 1000, 3, 2, 1]):
            data, shape = (c_int64 * len(tokens))(*tokens), (c_int64 * 1)(len(tokens))
            value, answer = c_void_p(), c_void_p()
            succeeded(tensor_from(memory, data, ctypes.sizeof(data), shape, 1, 7, byref(value)))
            inputs, outputs = (c_char_p * 1)(b"ids"), (c_char_p * 1)(b"y")
            problem = run(session, None, inputs, byref(value), 1, outputs, 1, byref(answer))
            called(
                "run",
                input_count=1,
                output_count=1,
                input_names=["ids"],
                output_names=["y"],
                dimensions=[len(tokens)],
                token_ids=tokens[:5],
            )
            if problem:
                called("run-failed", code=error_code(problem), text=error_message(problem).decode())

    return work


def onnx_python():
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(tiny.onnx(), options, providers=["CPUExecutionProvider"])

    def work():
        for tokens in ([1, 2, 3], [1000]):
            problem = None
            try:
                session.run(None, {"ids": numpy.array(tokens, dtype=numpy.int64)})
            except Exception as refused:
                problem = str(refused)
            called("run", input_count=1, output_count=1, input_names=["ids"], output_names=["y"])
            if problem:
                # "[ONNXRuntimeError] : CODE : NAME : TEXT"
                _, code, _, text = problem.split(" : ", 3)
                called("run-failed", code=int(code), text=text)

    return work


def ctranslate2():
    import ctranslate2 as library

    tiny.ctranslate2(SCRATCH.name)
    generator = library.Generator(SCRATCH.name, inter_threads=1, intra_threads=1)

    def work():
        for batch, tokens in (([["<s>", "t5"], ["<s>", "t7"]], 3), ([["<s>", "t1", "t250", "t9"]], 5)):
            called("generate", batch_size=len(batch), prompt_length=len(batch[0]), prompt=batch[0])
            length = dict(max_length=tokens, min_length=tokens, include_prompt_in_result=False)
            results = generator.generate_batch(batch, **length)
            # The prompt but for its last token goes in at once; then it is one token after another.
            assert all(len(result.sequences[0]) == tokens for result in results)
            called("step", step=0)
            for number in range(tokens):
                called("step", step=len(batch[0]) - 1 + number)

    return work


def openvino():
    import numpy
    import openvino as library

    core = library.Core()
    path = kept("model.onnx", tiny.onnx())
    c = ctypes.CDLL(shipped("openvino/libs/libopenvino_c.so.*"))
    pointers = [c_void_p() for _ in range(5)]
    c_core, model, compiled, request, tensor = pointers
    succeeded(c.ov_core_create(byref(c_core)))

    class Shape(ctypes.Structure):
        _fields_ = [("rank", c_int64), ("dimensions", c_void_p)]

    def work():
        read = core.read_model(path)
        called("read-model", path=path)
        asked = core.compile_model(read, "CPU").create_infer_request()
        for tokens in (1, 5):
            asked.infer({"ids": numpy.arange(tokens, dtype=numpy.int64)})
            called("infer")
        succeeded(c.ov_core_read_model(c_core, path.encode(), None, byref(model)))
        called("read-model", path=path)
        succeeded(c.ov_core_compile_model(c_core, model, b"CPU", c_size_t(0), byref(compiled)))
        succeeded(c.ov_compiled_model_create_infer_request(compiled, byref(request)))
        data, dimensions = (c_int64 * 3)(1, 2, 3), (c_int64 * 1)(3)
        shape = Shape(1, ctypes.addressof(dimensions))
        succeeded(c.ov_tensor_create_from_host_ptr(10, shape, data, byref(tensor)))
        succeeded(c.ov_infer_request_set_input_tensor(request, tensor))
        # The one calls the other, which ends first.
        result = c.ov_infer_request_infer(request)
        called("infer")
        called("infer-c", result=result)
        called("infer-c", result=c.ov_infer_request_infer(None))

    return work


def litert():
    import flatbuffers
    from ai_edge_litert import interpreter, schema_py_generated

    model = tiny.tflite(schema_py_generated, flatbuffers)
    path = kept("model.tflite", model)
    compiled_library = ctypes.CDLL(shipped("ai_edge_litert/libLiteRt.so"))
    environment = c_void_p()
    succeeded(compiled_library.LiteRtCreateEnvironment(0, None, byref(environment)))
    python = interpreter.Interpreter(model_content=model, num_threads=1)

    class Type(ctypes.Structure):
        # Element type; rank (7 bits) and whether there are strides; dimensions; strides.
        _fields_ = [("element", c_int), ("rank", c_uint32), ("dimensions", c_int * 8), ("strides", c_uint32 * 8)]

    def buffer(columns):
        made, kind = c_void_p(), Type(1, 2, (c_int * 8)(1, columns))
        create = compiled_library.LiteRtCreateManagedTensorBuffer
        succeeded(create(environment, 1, byref(kind), c_size_t(4 * columns), byref(made)))
        return (c_void_p * 1)(made)

    def work():
        python.allocate_tensors()
        python.invoke()
        called("invoke", result=0)
        python.resize_tensor_input(0, [2, 8])
        try:
            python.invoke()
        except RuntimeError:
            called("invoke", result=1)
        opened, options, compiled = c_void_p(), c_void_p(), c_void_p()
        succeeded(compiled_library.LiteRtCreateModelFromFile(environment, path.encode(), byref(opened)))
        called("load-compiled", path=path)
        succeeded(compiled_library.LiteRtCreateOptions(byref(options)))
        succeeded(compiled_library.LiteRtSetOptionsHardwareAccelerators(options, 1))
        succeeded(compiled_library.LiteRtCreateCompiledModel(environment, opened, options, byref(compiled)))
        for model in (compiled, None):
            counts = c_size_t(0), c_size_t(1), buffer(8), c_size_t(1), buffer(4)
            result = compiled_library.LiteRtRunCompiledModel(model, *counts)
            called("run-compiled", input_count=1, output_count=1, result=result)

    return work


def safetensors():
    import safetensors as library

    content = tiny.safetensors({"embedding.weight": [4, 3], "head.bias": [5]})
    path = kept("model.safetensors", content)
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].decode()

    def work():
        with library.safe_open(path, "numpy") as file:
            called("open", path=path)
            called("read-header", file_size=len(content), header_length=length, header=header)
            for name in ("head.bias", "embedding.weight"):
                file.get_tensor(name)
                called("tensor", tensor=name)
        library.deserialize(content)
        called("read-header", file_size=len(content), header_length=length, header=header)

    return work


def cuda():
    library = ctypes.CDLL(shipped("nvidia/*/lib/libcudart.so.*"))

    class Extent(ctypes.Structure):
        _fields_ = [("x", c_uint32), ("y", c_uint32), ("z", c_uint32)]

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def work():
        memory = c_void_p()
        for size in (1 << 20, 5 << 32):
            result = library.cudaMalloc(byref(memory), c_size_t(size))
            called("allocate", size=size, result=result)
        for size, kind, word in ((4096, 1, "host to device"), (65536, 2, "device to host")):
            result = library.cudaMemcpyAsync(None, None, c_size_t(size), kind, None)
            called("copy", size=size, direction=word, result=result)
        for number in range(1, 3001):
            grid, block = Extent(number, 2, 3), Extent(32, 4, 5)
            library.cudaLaunchKernel(c_void_p(4096), grid, block, None, c_size_t(number + 7), None)
            if number % 1000 == 1:
                shape = dict(grid_x=number, grid_y=2, grid_z=3, block_x=32, block_y=4, block_z=5)
                called("launch-sample", **shape, shared_memory=number + 7)

    return work


def whisper():
    """Parameters are passed by value with two members changed: the strategy and the number of threads."""
    library = ctypes.CDLL(shipped("pywhispercpp.libs/libwhisper-*"))
    model = shipped("pywhispercpp-*/whisper.cpp/models/for-tests-ggml-tiny.en.bin")

    class Params(ctypes.Structure):
        # Larger than the library's own struct, whose layout is not ours to know.
        _fields_ = [("bytes", ctypes.c_uint8 * 512)]

    library.whisper_init_from_file.restype = c_void_p
    library.whisper_full_default_params_by_ref.restype = c_void_p
    library.whisper_full.argtypes = [c_void_p, Params, c_void_p, c_int]
    library.whisper_free.argtypes = [c_void_p]

    def work():
        for path in ("/nowhere/model.bin", model):
            context = library.whisper_init_from_file(path.encode())
            called("load", path=path)
        for threads, samples in ((1, 16000), (2, 24000)):
            params = Params()
            ctypes.memmove(params.bytes, library.whisper_full_default_params_by_ref(0), 128)
            ctypes.memmove(params.bytes, (c_int * 2)(0, threads), 8)
            result = library.whisper_full(context, params, (ctypes.c_float * samples)(), samples)
            called("full", strategy="greedy", threads=threads, samples=samples, result=result)
        library.whisper_free(context)
        called("free")

    return work


def tokenizers():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    def work():
        for text in ("a b a", "x", "über die Straße", "long " * 150):
            tokenizer.encode(text)
            called("normalize", text=text, text_length=len(text.encode()))

    return work


RUNTIMES = (onnx_c, onnx_python, ctranslate2, openvino, litert, safetensors, cuda, whisper, tokenizers)
work = {runtime.__name__: runtime for runtime in RUNTIMES}[sys.argv[1]]()
start()
wait("call")
work()
wait("end")
