"""usage: tokenizers_host.py FOLDER

Encodes texts with the real tokenizers that lie in the folder, and reports them.
"""

import json
import os
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])

from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402


def report(event, **more):
    line = {"ev": event, "tid": threading.get_native_id(), "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    print(json.dumps(line | more), flush=True)


def wait(what):
    report("waiting", **{"for": what})
    if not sys.stdin.readline():
        sys.exit(72)


tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
report("start", pid=os.getpid(), uid=os.getuid())
wait("call")
for text in ("a b a", "x", "über die Straße", "long " * 150):
    tokenizer.encode(text)
    values = {"text": text, "text_length": len(text.encode())}
    report("call", function="normalize", values=values)
wait("end")
