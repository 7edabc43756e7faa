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


def onnx():
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


def ctranslate2(folder):
    """A decoder of two layers, as GPT-2 is built, with 256 tokens; written into the folder."""
    import numpy
    from ctranslate2.specs import common_spec, model_spec, transformer_spec

    width, tokens, inner = 64, 256, 128
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(2, 4, activation=common_spec.Activation.GELUTanh)
    random = numpy.random.default_rng(0)

    def some(*shape):
        return (random.standard_normal(shape) * 0.05).astype(numpy.float32)

    def weights(path, name):
        if "layer_norm" in path:
            return numpy.ones(width, numpy.float32) if name == "gamma" else numpy.zeros(width, numpy.float32)
        if "embeddings" in path:
            return some(tokens, width) * 20
        if "position_encodings" in path:
            return some(512, width)
        if "projection" in path:
            return some(tokens, width) * 10 if name == "weight" else some(tokens)
        rows, columns = width, width
        if "self_attention/linear_0" in path:
            rows = 3 * width
        elif "ffn/linear_0" in path:
            rows = inner
        elif "ffn/linear_1" in path:
            columns = inner
        return some(rows, columns) if name == "weight" else some(rows)

    def fill(layer, path):
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

    fill(spec.decoder, "decoder/")
    spec.register_vocabulary(["<unk>", "<s>", "</s>"] + [f"t{number}" for number in range(tokens - 3)])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    spec.validate()
    spec.optimize()
    os.makedirs(folder, exist_ok=True)
    spec.save(folder)
