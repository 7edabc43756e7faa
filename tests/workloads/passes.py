"""usage: passes.py RUNTIME FOLDER...

Makes a real runtime run a tiny model, and reports what each of the calls was given that the runtime's
profile names (`tracer-user/profile/tests/runtimes`), and what it gave back. The folders hold the
packages.
"""

import ctypes
import os
import sys
import tempfile
import threading
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import tiny  # noqa: E402
from packages import shipped  # noqa: E402
from reporting import called, loaded, released, report, says_version, start, timed, wait  # noqa: E402

SCRATCH = tempfile.TemporaryDirectory()


def kept(name, content):
    path = os.path.join(SCRATCH.name, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def succeeded(status):
    assert not status, f"a call that prepares others ended with {status}"


def onnx_c():
    """ONNX Runtime through the table of functions that is its C interface."""
    library = ctypes.CDLL(shipped("onnxruntime/capi/libonnxruntime.so.*"))
    library.OrtGetApiBase.restype = ctypes.POINTER(c_void_p)
    get_api = ctypes.CFUNCTYPE(ctypes.POINTER(c_void_p), c_uint32)(library.OrtGetApiBase()[0])
    table = get_api(20)
    say_version = ctypes.CFUNCTYPE(c_char_p)(library.OrtGetApiBase()[1])

    def function(slot, *arguments, result=c_void_p):
        return ctypes.CFUNCTYPE(result, *arguments)(table[slot])

    error_code = function(1, c_void_p, result=c_int)
    error_message = function(2, c_void_p, result=c_char_p)
    create_session = function(7, c_void_p, c_char_p, c_void_p, c_void_p)
    create_from_array = function(8, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p)
    run = function(9, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)
    tensor_from = function(49, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_int, c_void_p)
    run_with_binding = function(133, c_void_p, c_void_p, c_void_p)
    create_binding = function(134, c_void_p, c_void_p)
    bind_input = function(136, c_void_p, c_char_p, c_void_p)
    bind_output_to_device = function(138, c_void_p, c_char_p, c_void_p)
    Answered = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p)
    run_async = function(
        260, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, Answered, c_void_p
    )
    environment, options, threaded, memory = c_void_p(), c_void_p(), c_void_p(), c_void_p()
    release_session = function(95, c_void_p, result=None)
    succeeded(function(3, c_int, c_char_p, c_void_p)(4, b"test", byref(environment)))
    succeeded(function(10, c_void_p)(byref(options)))
    succeeded(function(10, c_void_p)(byref(threaded)))
    succeeded(function(24, c_void_p, c_int)(options, 1))  # SetIntraOpNumThreads
    succeeded(function(24, c_void_p, c_int)(threaded, 2))
    succeeded(function(69, c_int, c_int, c_void_p)(0, 0, byref(memory)))
    model = tiny.onnx()
    path = kept("model.onnx", model)

    def create(name, options=options):
        session = c_void_p()
        problem = create_session(environment, name.encode(), options, byref(session))
        loaded(name, not problem)
        return session

    def refused(function, problem):
        if problem:
            called(function, code=error_code(problem), text=error_message(problem).decode())

    def ids(*tokens):
        data, shape, value = (c_int64 * len(tokens))(*tokens), (c_int64 * 1)(len(tokens)), c_void_p()
        succeeded(tensor_from(memory, data, ctypes.sizeof(data), shape, 1, 7, byref(value)))
        # The tensor keeps no copy.
        return value, data

    first = create(path)
    inputs, outputs = (c_char_p * 1)(b"ids"), (c_char_p * 1)(b"y")

    def work():
        says_version(say_version())
        session = [create(name) for name in ("/nowhere/model.onnx", path)][-1]
        release_session(session)
        released()
        problem = create_from_array(environment, model, len(model), options, byref(session))
        loaded(None, not problem)
        for session, tokens in ((first, [1, 2, 3, 4, 5, 6, 7]), (session, [98, 1000, 3, 2, 1])):
            (value, data), answer = ids(*tokens), c_void_p()
            problem, _, took = timed(lambda: run(session, None, inputs, byref(value), 1, outputs, 1, byref(answer)))
            called(
                "run-c",
                took=took,
                input_count=1,
                output_count=1,
                input_names=["ids"],
                output_names=["y"],
                dimensions=[len(tokens)],
            )
            refused("run-c-failed", problem)
        for tokens in ([3, 1], [1000]):
            (value, data), binding = ids(*tokens), c_void_p()
            succeeded(create_binding(first, byref(binding)))
            succeeded(bind_input(binding, b"ids", value))
            succeeded(bind_output_to_device(binding, b"y", memory))
            problem, _, took = timed(lambda: run_with_binding(first, None, binding))
            called("run-binding", took=took)
            refused("run-binding-failed", problem)
        # Only a session with threads of its own runs beside its caller.
        for session in (create(path, threaded), first):
            (value, data), answers, done = ids(1, 2, 3), (c_void_p * 1)(), threading.Event()
            answered = Answered(lambda *_: done.set())
            problem = run_async(session, None, inputs, byref(value), 1, outputs, 1, answers, answered, None)
            called("run-async", input_count=1, output_count=1)
            refused("run-async-failed", problem)
            assert problem or done.wait(60), "ONNX Runtime did not answer"

    return work


def onnx_python():
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    path, sessions = kept("model.onnx", tiny.onnx()), []

    def load(model, name, options=options):
        making = lambda: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session, problem, _ = timed(making)
        loaded(name, not problem)
        # None is freed: an address is one session's.
        sessions.append(session)
        return session

    load(path, path)

    def work():
        broken = kept("broken.onnx", b"this is no model")
        load(broken, broken)
        for tokens in ([1, 2, 3], [1000]):
            ids = numpy.array(tokens, dtype=numpy.int64)
            _, problem, took = timed(lambda: sessions[0].run(None, {"ids": ids}))
            shape = dict(dimensions=list(ids.shape))
            called("run", took=took, input_count=1, output_count=1, input_names=["ids"], output_names=["y"], **shape)
            if problem:
                # "[ONNXRuntimeError] : CODE : NAME : TEXT"
                _, code, _, text = str(problem).split(" : ", 3)
                called("run-failed", code=int(code), text=text)
        session = load(tiny.onnx(), None)
        whole = dict(input_count=1, output_count=1, input_names=["ids"], output_names=["y"])
        binding = session.io_binding()
        binding.bind_cpu_input("ids", numpy.array([5, 6], dtype=numpy.int64))
        binding.bind_output("y")
        session.run_with_iobinding(binding)
        called("run", dimensions=[2], **whole)
        # Only a session with threads of its own runs beside its caller.
        threaded = onnxruntime.SessionOptions()
        threaded.intra_op_num_threads = 2
        session, done = load(tiny.onnx(), None, threaded), threading.Event()
        ids = numpy.array([5, 6, 7, 8], dtype=numpy.int64)
        session.run_async(["y"], {"ids": ids}, lambda *_: done.set(), None)
        assert done.wait(60), "ONNX Runtime did not answer"
        called("run", dimensions=[4], **whole)

    return work


def ctranslate2():
    import ctranslate2 as library

    tiny.ctranslate2(SCRATCH.name)
    generator = library.Generator(SCRATCH.name, inter_threads=1, intra_threads=1)
    loaded(SCRATCH.name)

    def work():
        failed = 0
        for batch, tokens in (([["<s>", "t5"], ["<s>", "t7"]], 3), ([["<s>", "t1", "t250", "t9"]], 5)):
            called("generate", batch_size=len(batch), prompt_length=len(batch[0]), prompt=batch[0])
            # Told when the thread's next batch begins.
            for _ in range(failed):
                called("run-generation", batch_size=1, unwound=True)
            length = dict(max_length=tokens, min_length=tokens, include_prompt_in_result=False)
            results = generator.generate_batch(batch, **length)
            # The prompt but for its last token goes in at once; then it is one token after another.
            assert all(len(result.sequences[0]) == tokens for result in results)
            called("step", step=0)
            for number in range(tokens):
                called("step", step=len(batch[0]) - 1 + number)
            called("run-generation", batch_size=len(batch))
            if not failed:
                # Nothing to begin with.
                _, problem, _ = timed(lambda: generator.generate_batch([[]], **length))
                assert problem, "an empty prompt was taken"
                called("generate", batch_size=1, prompt_length=0, prompt=[])
                failed += 1

    return work


def ctranslate2_others():
    """What translates, and what transcribes."""
    import ctranslate2 as library
    import numpy

    folders = {name: os.path.join(SCRATCH.name, name) for name in ("translator", "whisper")}
    tiny.ctranslate2_translator(folders["translator"])
    tiny.ctranslate2_whisper(folders["whisper"])
    translator = library.Translator(folders["translator"], inter_threads=1, intra_threads=1)
    loaded(folders["translator"])

    def features(frequencies):
        return library.StorageView.from_array(numpy.zeros((1, frequencies, 3000), numpy.float32))

    def work():
        translators = []
        for folder in ("/nowhere/model", folders["translator"]):
            made, problem, _ = timed(lambda: library.Translator(folder, inter_threads=1, intra_threads=1))
            loaded(folder, not problem)
            translators.append(made)
        whisper = library.models.Whisper(folders["whisper"], inter_threads=1, intra_threads=1)
        loaded(folders["whisper"])
        for batch in ([["t1", "t2"], ["t3"]], [["t250", "t9", "t7"]]):
            called("translate", batch_size=len(batch), source_length=len(batch[0]), source=batch[0])
            length = dict(beam_size=1, max_decoding_length=4, min_decoding_length=4)
            results = translator.translate_batch(batch, **length)
            assert all(len(result.hypotheses[0]) == 4 for result in results)
            for number in range(4):
                called("step", step=number)
        prompt = ["<|startoftranscript|>", "<|notimestamps|>"]
        # The second one has more frequencies than the model.
        for sound in (features(80), features(81), features(80)):
            transcribe = lambda: whisper.generate(sound, [prompt], beam_size=1, max_length=6)
            results, problem, _ = timed(transcribe)
            for number in range(0 if problem else len(results[0].sequences_ids[0])):
                called("step", step=len(prompt) - 1 + number)
            called("transcribe", unwound=bool(problem))

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

    def read_model(path):
        read, problem, _ = timed(lambda: core.read_model(path))
        loaded(path, not problem)
        return read

    def compiled_for_cpu(read):
        made, _, took = timed(lambda: core.compile_model(read, "CPU"))
        called("compile-model", took=took, device="CPU")
        return made.create_infer_request()

    first = compiled_for_cpu(read_model(path))

    def infer(asked, tokens):
        asked.infer({"ids": numpy.array(tokens, dtype=numpy.int64)})
        called("infer")

    def compiled_from_file(path):
        made, problem, _ = timed(lambda: core.compile_model(path, "CPU"))
        loaded(path, False if problem else None)
        return problem or made.create_infer_request()

    def work():
        infer(first, [1])
        broken = kept("broken.onnx", b"this is no model")
        read_model(broken)
        infer(compiled_for_cpu(read_model(path)), [1, 2, 3, 4, 5])
        compiled_from_file(broken)
        lengths = compiled_from_file(kept("sum.onnx", tiny.onnx_sum()))
        # The second of each has two vectors of which no sum can be made.
        for b in (2, 3, 2):
            vectors = {"a": numpy.ones(2, numpy.float32), "b": numpy.ones(b, numpy.float32)}
            _, problem, _ = timed(lambda: lengths.infer(vectors))
            called("infer", unwound=bool(problem))
        failed = None
        for b in (2, 3, 2):
            vectors = {"a": numpy.ones(2, numpy.float32), "b": numpy.ones(b, numpy.float32)}
            lengths.start_async(vectors)
            called("start-async")
            # What an exception left is told when the next one begins.
            if failed:
                called("wait", unwound=True)
            _, failed, _ = timed(lengths.wait)
            if not failed:
                called("wait")
        succeeded(c.ov_core_read_model(c_core, path.encode(), None, byref(model)))
        loaded(path)
        succeeded(c.ov_core_compile_model(c_core, model, b"CPU", c_size_t(0), byref(compiled)))
        called("compile-model", device="CPU")
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
    python = interpreter.Interpreter(model_path=path, num_threads=1)
    loaded(path)

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
        _, _, took = timed(python.invoke)
        called("invoke", took=took, result=0)
        python.resize_tensor_input(0, [2, 8])
        called("resize", tensor=0, dimensions=[2, 8], result=0)
        _, problem, took = timed(python.invoke)
        assert problem
        called("invoke", took=took, result=1)
        broken = kept("broken.tflite", b"this is no model")
        _, problem, _ = timed(lambda: interpreter.Interpreter(model_path=broken))
        loaded(broken, not problem)
        opened, options, compiled = c_void_p(), c_void_p(), c_void_p()
        succeeded(compiled_library.LiteRtCreateModelFromFile(environment, path.encode(), byref(opened)))
        loaded(path)
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

    first = library.safe_open(path, "numpy")
    loaded(path, None)
    called("read-header", file_size=len(content), header_length=length, header=header)

    def work():
        first.get_tensor("head.bias")
        called("tensor", tensor="head.bias")
        # Another file: a load of one that is mapped already counts as the load that mapped it.
        other = kept("other.safetensors", content)
        with library.safe_open(other, "numpy") as file:
            loaded(other, None)
            called("read-header", file_size=len(content), header_length=length, header=header)
            for name in ("head.bias", "embedding.weight"):
                file.get_tensor(name)
                called("tensor", tensor=name)
        library.deserialize(content)
        called("read-header", file_size=len(content), header_length=length, header=header)
        _, problem, _ = timed(lambda: first.get_tensor("absent"))
        called("tensor", tensor="absent")
        assert problem
        _, problem, _ = timed(lambda: library.safe_open("/nowhere/model.safetensors", "numpy"))
        loaded("/nowhere/model.safetensors", None)
        assert problem

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
            called("copy-failed", size=size, direction=word, result=result)
        for number in range(1, 3001):
            grid, block = Extent(number, 2, 3), Extent(32, 4, 5)
            library.cudaLaunchKernel(c_void_p(4096), grid, block, None, c_size_t(number + 7), None)
            if number % 1000 == 1:
                shape = dict(grid_x=number, grid_y=2, grid_z=3, block_x=32, block_y=4, block_z=5)
                called("launch-sample", **shape, shared_memory=number + 7)
        report("counts", functions={"launch": dict(entered=3000, returned=3000, unwound=0)}, checksum=0)

    return work


def cuda_driver():
    """The driver's library without a device: arguments are read, and calls return an error."""
    library = ctypes.CDLL(shipped("libcuda.so.1"))

    def work():
        memory, module = c_void_p(), c_void_p()
        # Before it is initialised, and after: there is no device either way.
        for _ in range(2):
            for size in (1 << 20, 5 << 32):
                assert library.cuMemAlloc_v2(byref(memory), c_size_t(size))
                called("driver-allocate", size=size)
            assert library.cuModuleLoadData(byref(module), b"no module")
            called("driver-load-module")
            for number in range(1, 3001):
                assert library.cuLaunchKernel(None, number, 2, 3, 32, 4, 5, number + 7, None, None, None)
            library.cuInit(0)

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
    library.whisper_version.restype = c_char_p

    def load(path):
        context = library.whisper_init_from_file(path.encode())
        loaded(path, bool(context))
        return context

    first = load(model)

    def work():
        says_version(library.whisper_version())
        context = [load(path) for path in ("/nowhere/model.bin", model)][-1]
        # The last one asks for more context than the model has.
        for context, threads, samples, audio_context in ((first, 1, 16000, 64), (context, 2, 800, 64), (first, 1, 16000, 5000)):
            params = Params()
            ctypes.memmove(params.bytes, library.whisper_full_default_params_by_ref(0), 128)
            ctypes.memmove(params.bytes, (c_int * 2)(0, threads), 8)
            ctypes.memmove(ctypes.addressof(params) + 56, (c_int * 1)(audio_context), 4)
            sound = (ctypes.c_float * samples)()
            result, _, took = timed(lambda: library.whisper_full(context, params, sound, samples))
            called("full", took=took, strategy="greedy", threads=threads, samples=samples, result=result)
            assert bool(result) == (audio_context == 5000), result
        library.whisper_free(context)
        released()

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


def triton():
    """Triton Inference Server inside this process, through its C interface; its Python backend has a
    process of its own for the model."""
    import shutil
    import threading
    import time

    server_library = shipped("nvidia_pytriton.libs/libtritonserver-*.so")
    package = shipped("pytriton/tritonserver")
    stub = os.path.join(package, "python_backend_stubs/%d.%d/triton_python_backend_stub" % sys.version_info[:2])
    # The stub lies beside the backend, and a wheel unpacked by hand has no program that may run.
    backend = os.path.join(SCRATCH.name, "backends/python")
    shutil.copytree(os.path.join(package, "backends/python"), backend)
    os.chmod(shutil.copy(stub, backend), 0o755)
    os.environ["LD_LIBRARY_PATH"] = os.path.dirname(server_library)
    numpy = f"import sys; sys.path.append({os.path.dirname(shipped('numpy'))!r})\n"
    repository = os.path.join(SCRATCH.name, "models")
    for name, code in (("twice", numpy + TRITON_TWICE), ("broken", "no Python at all")):
        os.makedirs(os.path.join(repository, name, "1"))
        with open(os.path.join(repository, name, "1/model.py"), "w") as file:
            file.write(code)
        with open(os.path.join(repository, name, "config.pbtxt"), "w") as file:
            file.write(TRITON_CONFIG)

    def opened(path):
        # Only Triton's own program says where the libraries are that this one needs.
        while True:
            try:
                return ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
            except OSError as missing:
                opened(os.path.join(os.path.dirname(server_library), str(missing).split(":")[0]))

    library = opened(server_library)
    opened(os.path.join(backend, "libtriton_python.so"))
    library.TRITONSERVER_ErrorMessage.restype = c_char_p

    def call(name, *arguments):
        function = getattr(library, "TRITONSERVER_" + name)
        function.restype = c_void_p
        return function(*arguments)

    def done(name, *arguments):
        problem = call(name, *arguments)
        assert not problem, library.TRITONSERVER_ErrorMessage(c_void_p(problem))

    options, server, allocator = c_void_p(), c_void_p(), c_void_p()
    done("ServerOptionsNew", byref(options))
    done("ServerOptionsSetModelRepositoryPath", options, repository.encode())
    done("ServerOptionsSetBackendDirectory", options, os.path.dirname(backend).encode())
    done("ServerOptionsSetModelControlMode", options, 2)  # models are loaded when asked for
    done("ServerOptionsSetModelLoadRetryCount", options, 0)
    for kind in ("Info", "Warn", "Error"):
        done(f"ServerOptionsSetLog{kind}", options, ctypes.c_bool(False))
    done("ServerNew", byref(server), options)

    answered, answers = threading.Event(), []
    Allocate = ctypes.CFUNCTYPE(
        c_void_p, c_void_p, c_char_p, c_size_t, c_int, c_int64, c_void_p,
        ctypes.POINTER(c_void_p), ctypes.POINTER(c_void_p), ctypes.POINTER(c_int), ctypes.POINTER(c_int64),
    )
    Release = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_int, c_int64)
    Given = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
    room = (ctypes.c_float * 16)()

    @Allocate
    def allocate(_allocator, _tensor, _size, _kind, _number, _own, buffer, _kept, kind, number):
        buffer[0], kind[0], number[0] = ctypes.addressof(room), 0, 0

    @Release
    def release(*_arguments):
        pass

    @Given
    def released(request, _flags, _own):
        call("InferenceRequestDelete", c_void_p(request))

    @Given
    def responded(response, _flags, _own):
        if response:
            answer = None
            if not call("InferenceResponseError", c_void_p(response)):
                name, kind, shape, rank, base, size, memory, number, own = (c_void_p() for _ in range(9))
                parts = (byref(part) for part in (name, kind, shape, rank, base, size, memory, number, own))
                done("InferenceResponseOutput", c_void_p(response), 0, *parts)
                answer = list((ctypes.c_float * ((size.value or 0) // 4)).from_address(base.value))
            answers.append(answer)
            call("InferenceResponseDelete", c_void_p(response))
        answered.set()

    done("ResponseAllocatorNew", byref(allocator), allocate, release, None)
    done("ServerLoadModel", server, b"twice")
    # What the callbacks need lives as long as the server.
    keep = allocate, release, released, responded

    def infer(values):
        request = c_void_p()
        done("InferenceRequestNew", byref(request), server, b"twice", c_int64(-1))
        data = (ctypes.c_float * len(values))(*values)
        shape = (c_int64 * 1)(len(values))
        done("InferenceRequestAddInput", request, b"x", 11, shape, ctypes.c_uint64(1))
        done("InferenceRequestAppendInputData", request, b"x", data, c_size_t(ctypes.sizeof(data)), 0, c_int64(0))
        done("InferenceRequestAddRequestedOutput", request, b"y")
        done("InferenceRequestSetReleaseCallback", request, released, None)
        done("InferenceRequestSetResponseCallback", request, allocator, None, responded, None)
        answered.clear()
        done("ServerInferAsync", server, request, None)
        called("infer")
        assert answered.wait(60), "Triton did not answer"
        # The backend answers before its call ends.
        time.sleep(0.2)
        called("execute", requests=1)

    def work():
        for name in ("twice", "broken", "absent"):
            problem = call("ServerLoadModel", server, name.encode())
            called("load-model", model_name=name)
            assert bool(problem) == (name != "twice")
            if problem:
                code = library.TRITONSERVER_ErrorCode(c_void_p(problem))
                text = library.TRITONSERVER_ErrorMessage(c_void_p(problem)).decode()
                called("load-failed", model_name=name, code=code, text=text)
        for values in ([1, 2, 3, 4], [-1, 0, 0, 0]):
            infer(values)
            assert keep and answers[-1] == (values[0] > 0 and [2 * value for value in values] or None), answers
        done("ServerStop", server)
        done("ServerDelete", server)

    return work


TRITON_CONFIG = """
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
TRITON_TWICE = """
import triton_python_backend_utils as utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(utils.get_input_tensor_by_name(request, "x").as_numpy()) for request in requests]

    def answer(self, x):
        if x[0] < 0:
            return utils.InferenceResponse(error=utils.TritonError("negative"))
        return utils.InferenceResponse(output_tensors=[utils.Tensor("y", 2 * x)])
"""

RUNTIMES = (
    onnx_c, onnx_python, ctranslate2, ctranslate2_others, openvino, litert, safetensors, cuda, cuda_driver, whisper,
    tokenizers, triton,
)
work = {runtime.__name__: runtime for runtime in RUNTIMES}[sys.argv[1]]()
start()
wait("call")
work()
wait("end")
