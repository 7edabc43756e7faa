"""usage: prompts.py PROMPTS FOLDER...

Answers prompts as a server in Python does that has its model in ONNX Runtime: Hugging Face's tokenizers
make ids of each, and a session is run on them. PROMPTS is a JSON list; the folders hold the packages.
"""

import json
import os
import sys

sys.path[:0] = [os.path.dirname(__file__), *sys.argv[2:]]

import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import tiny  # noqa: E402
from reporting import called, start, wait  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402

# The model's embedding has 100 rows.
WORDS = 99

prompts = json.loads(sys.argv[1])
pieces = pre_tokenizers.WhitespaceSplit()
words = sorted({word for prompt in prompts for word, _ in pieces.pre_tokenize_str(prompt)})
vocabulary = {word: number for number, word in enumerate(words[:WORDS])} | {"[UNK]": WORDS}
tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pieces
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(tiny.onnx(), options, providers=["CPUExecutionProvider"])

start()
wait("call")
for prompt in prompts:
    ids = tokenizer.encode(prompt).ids
    (answer,) = session.run(None, {"ids": numpy.array(ids, dtype=numpy.int64)})
    called("run", token_ids=ids, rows=len(answer))
wait("end")
