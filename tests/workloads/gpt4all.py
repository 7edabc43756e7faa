"""usage: gpt4all.py MODEL BROKEN FOLDER

GPT4All's library through its C interface, as its Python module calls it: it loads the model, waits, fails to load
the broken one, answers two prompts, and waits again. It reports each decode call as `llama.c` does, from what the
library says of its tokens: a batch of the prompt, or one token that was sampled and fed back.
"""

import ctypes
import os
import sys
import time
from ctypes import POINTER, byref, c_bool, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p

sys.path.insert(0, os.path.dirname(__file__))

from reporting import loaded, report, start, wait  # noqa: E402

BATCH, TOKENS = 8, 12


class Context(ctypes.Structure):
    _fields_ = [
        ("tokens", POINTER(c_int32)), ("tokens_size", c_size_t), ("n_past", c_int32), ("n_ctx", c_int32),
        ("n_predict", c_int32), ("top_k", c_int32), ("top_p", c_float), ("min_p", c_float), ("temp", c_float),
        ("n_batch", c_int32), ("repeat_penalty", c_float), ("repeat_last_n", c_int32), ("context_erase", c_float),
    ]


OfPrompt = ctypes.CFUNCTYPE(c_bool, c_int32)
OfAnswer = ctypes.CFUNCTYPE(c_bool, c_int32, c_char_p)
folder = os.path.join(sys.argv[3], "gpt4all/llmodel_DO_NOT_MODIFY/build")
library = ctypes.CDLL(os.path.join(folder, "libllmodel.so"))
library.llmodel_set_implementation_search_path(folder.encode())
library.llmodel_model_create2.restype = c_void_p
library.llmodel_loadModel.argtypes = [c_void_p, c_char_p, c_int, c_int]
library.llmodel_loadModel.restype = c_bool
library.llmodel_setThreadCount.argtypes = [c_void_p, c_int32]
library.llmodel_prompt.argtypes = [
    c_void_p, c_char_p, c_char_p, OfPrompt, OfAnswer, c_bool, POINTER(Context), c_bool, c_char_p,
]


def load(path):
    problem = c_char_p()
    model = library.llmodel_model_create2(path.encode(), b"auto", byref(problem))
    assert model, problem.value
    well = library.llmodel_loadModel(model, path.encode(), 512, 0)
    loaded(path, well)
    return model if well else None


class Decoded:
    """Turns the tokens that the library tells of into its calls. It holds some back until it knows that no stop
    string begins with them, so a call is only known to lie between the prompt and its word."""

    def __init__(self):
        self.calls, self.position, self.tokens = 0, 0, []
        self.began = 0

    def begin(self):
        self.began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def tell(self):
        """The tokens that are told of were one call, which has ended."""
        if not self.tokens:
            return
        positions = list(range(self.position, self.position + len(self.tokens)))
        sequences = [[0]] * len(self.tokens)
        begin = dict(tokens=self.tokens, pos=positions, seq=sequences, boot_ns=self.began)
        report("decode_begin", call=self.calls, ctx="0", **begin)
        report("decode_end", call=self.calls, ctx="0", ret=0)
        self.calls, self.position, self.tokens = self.calls + 1, self.position + len(self.tokens), []

    def of_prompt(self, token):
        self.tokens.append(token)
        if len(self.tokens) == BATCH:
            self.tell()
        return True

    def of_answer(self, token, piece):
        self.tell()
        report("sampled", ctx="0", seq=0, token=token, eog=False, piece_hex=piece.hex())
        self.tokens.append(token)
        self.tell()
        return True


start()
model = load(sys.argv[1])
library.llmodel_setThreadCount(model, 1)
report("context_end", ctx="0", n_ctx=512)
wait("call")
assert not load(sys.argv[2])
decoded = Decoded()
context = Context(
    n_predict=TOKENS, top_k=1, top_p=1.0, temp=1.0, n_batch=BATCH, repeat_penalty=1.0, repeat_last_n=1, context_erase=0.5
)
for prompt in (b"Once upon a time there was a little dog", b"And then"):
    decoded.begin()
    functions = OfPrompt(decoded.of_prompt), OfAnswer(decoded.of_answer)
    library.llmodel_prompt(model, prompt, b"%1", *functions, False, byref(context), False, None)
    decoded.tell()
    assert decoded.position == context.n_past, (decoded.position, context.n_past)
wait("end")
