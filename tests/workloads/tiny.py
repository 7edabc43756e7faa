"""Tiny models with random weights, each in the form that one runtime reads. Nothing is fetched."""

import json
import os
import struct


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


def onnx_tensor(random, name, *shape):
    values = random.standard_normal(shape).astype("<f4").tobytes()
    return field(5, 2, b"".join(field(1, 0, size) for size in shape) + field(2, 0, 1) + text(8, name) + field(9, 2, values))


def onnx_node(kind, inputs, output):
    return field(1, 2, b"".join(text(1, name) for name in inputs) + text(2, output) + text(4, kind))


def onnx_value(number, name, kind, *dimensions):
    shape = b"".join(field(1, 2, text(2, size) if isinstance(size, str) else field(1, 0, size)) for size in dimensions)
    of_type = field(1, 2, field(1, 0, kind) + field(2, 2, shape))
    return field(number, 2, text(1, name) + field(2, 2, of_type))


def onnx_model(*graph):
    return field(1, 0, 8) + field(7, 2, b"".join(graph)) + field(8, 2, field(2, 0, 17))


def onnx():
    """Tokens to an embedding, a layer, its softmax, and the mean: ModelProto of ONNX."""
    import numpy

    random = numpy.random.default_rng(7)
    return onnx_model(
        onnx_node("Gather", ["E", "ids"], "e"),
        onnx_node("MatMul", ["e", "W"], "m"),
        onnx_node("Add", ["m", "B"], "a"),
        onnx_node("Relu", ["a"], "r"),
        onnx_node("Softmax", ["r"], "s"),
        onnx_node("Mul", ["s", "m"], "y"),
        text(2, "graph"),
        onnx_tensor(random, "E", 100, 16),
        onnx_tensor(random, "W", 16, 8),
        onnx_tensor(random, "B", 8),
        onnx_value(11, "ids", 7, "N"),
        onnx_value(12, "y", 1, "N", 8),
    )


def onnx_sum():
    """The sum of two vectors, whose lengths must be the same when it runs."""
    ends = onnx_value(11, "a", 1, "N"), onnx_value(11, "b", 1, "M"), onnx_value(12, "y", 1, "K")
    return onnx_model(onnx_node("Add", ["a", "b"], "y"), text(2, "graph"), *ends)


def onnx_layers(width, count):
    """Tokens to an embedding, and so many square layers with a softmax after each, so that no number grows."""
    import numpy

    random = numpy.random.default_rng(7)
    graph = [onnx_node("Gather", ["E", "ids"], "s0"), text(2, "graph"), onnx_tensor(random, "E", 100, width)]
    for number in range(count):
        graph.append(onnx_node("MatMul", [f"s{number}", f"W{number}"], f"m{number}"))
        graph.append(onnx_node("Softmax", [f"m{number}"], f"s{number + 1}"))
        graph.append(onnx_tensor(random, f"W{number}", width, width))
    return onnx_model(*graph, onnx_value(11, "ids", 7, "N"), onnx_value(12, f"s{count}", 1, "N", width))


def safetensors(tensors):
    """A file of 32-bit floats: the header's length, the header, the data. Tensors by name and shape."""
    header, data = {}, b""
    for name, shape in tensors.items():
        count = 1
        for size in shape:
            count *= size
        begin = len(data)
        data += struct.pack(f"<{count}f", *(index / 7 for index in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tflite(schema, flatbuffers):
    """One fully connected layer of 8 to 4, through the schema that LiteRT ships."""
    import numpy

    weights = numpy.random.default_rng(0).standard_normal((4, 8)).astype(numpy.float32)
    model = schema.ModelT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.operatorCodes = [code]

    def buffer(data=None):
        made = schema.BufferT()
        made.data = None if data is None else list(data.tobytes())
        return made

    def tensor(name, shape, number):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, schema.TensorType.FLOAT32, number
        return made

    model.buffers = [buffer(), buffer(weights), buffer(numpy.zeros(4, numpy.float32)), buffer(), buffer()]
    graph = schema.SubGraphT()
    graph.tensors = [tensor("x", [1, 8], 3), tensor("W", [4, 8], 1), tensor("b", [4], 2), tensor("y", [1, 4], 4)]
    graph.inputs, graph.outputs = [0], [3]
    layer = schema.OperatorT()
    layer.opcodeIndex, layer.inputs, layer.outputs = 0, [0, 1, 2], [3]
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [layer]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# CTranslate2's models: width, tokens, and what the inner layers have.
WIDTH, TOKENS, INNER = 64, 256, 128


def ctranslate2(folder):
    """A decoder of two layers, as GPT-2 is built, with 256 tokens; written into the folder."""
    from ctranslate2.specs import common_spec, transformer_spec

    spec = transformer_spec.TransformerDecoderModelSpec.from_config(2, 4, activation=common_spec.Activation.GELUTanh)
    fill(spec.decoder, "decoder/")
    spec.register_vocabulary(ctranslate2_vocabulary())
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    save(spec, folder)


def ctranslate2_translator(folder):
    """An encoder and a decoder of one layer each, for translation."""
    from ctranslate2.specs import transformer_spec

    spec = transformer_spec.TransformerSpec.from_config(1, 4)
    fill(spec.encoder, "encoder/")
    fill(spec.decoder, "decoder/")
    spec.register_source_vocabulary(ctranslate2_vocabulary())
    spec.register_target_vocabulary(ctranslate2_vocabulary())
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    save(spec, folder)


def ctranslate2_whisper(folder):
    """Whisper with one layer each, for 80 frequencies and English alone."""
    from ctranslate2.specs import whisper_spec

    spec = whisper_spec.WhisperSpec(1, 4, 1, 4)
    fill(spec.encoder, "encoder/")
    fill(spec.decoder, "decoder/")
    # Optional elsewhere: a model that has none computes them.
    for name, part in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        part.position_encodings.encodings = weights(f"{name}/position_encodings", "encodings")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|nospeech|>", "<|notimestamps|>"]
    spec.register_vocabulary(special + ctranslate2_vocabulary()[: TOKENS - len(special)])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids = [], [], []
    spec.config.alignment_heads = [[0, 0]]
    save(spec, folder)


def ctranslate2_vocabulary():
    return ["<unk>", "<s>", "</s>"] + [f"t{number}" for number in range(TOKENS - 3)]


def fill(layer, path):
    """Gives a layer of CTranslate2 weights where it has none."""
    from ctranslate2.specs import model_spec

    for name, value in list(vars(layer).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, list):
            for number, part in enumerate(value):
                fill(part, f"{path}{name}_{number}/")
        elif isinstance(value, model_spec.LayerSpec):
            fill(value, f"{path}{name}/")
        elif value is None and (name in ("gamma", "beta", "weight", "bias") or "encodings" in name):
            setattr(layer, name, weights(path + name, name))


def weights(path, name):
    import numpy

    random = numpy.random.default_rng(sum(path.encode()))

    def some(*shape):
        return (random.standard_normal(shape) * 0.05).astype(numpy.float32)

    if "layer_norm" in path:
        return numpy.ones(WIDTH, numpy.float32) if name == "gamma" else numpy.zeros(WIDTH, numpy.float32)
    if "embeddings" in path:
        return some(TOKENS, WIDTH) * 20
    if "position_encodings" in path:
        return some(1500, WIDTH)
    if "projection" in path:
        return some(TOKENS, WIDTH) * 10 if name == "weight" else some(TOKENS)
    if "conv" in path:
        return some(WIDTH) if name == "bias" else some(WIDTH, 80 if "conv1" in path else WIDTH, 3)
    rows, columns = WIDTH, WIDTH
    if "self_attention/linear_0" in path:
        rows = 3 * WIDTH
    elif "attention/linear_1" in path and "self" not in path:
        rows = 2 * WIDTH
    elif "ffn/linear_0" in path:
        rows = INNER
    elif "ffn/linear_1" in path:
        columns = INNER
    return some(rows, columns) if name == "weight" else some(rows)


def save(spec, folder):
    spec.validate()
    spec.optimize()
    os.makedirs(folder, exist_ok=True)
    spec.save(folder)
