"""Presidio's pattern recognisers over texts, a JSON string a line: how long a pass takes, and what it finds."""

import json
import sys
import time

import spacy
import tldextract

# Its list of domains comes with the package; the newest one would have to be fetched.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
tldextract.tldextract.TLD_EXTRACTOR = tldextract.extract

from presidio_analyzer import AnalyzerEngine  # noqa: E402
from presidio_analyzer.nlp_engine import SlimSpacyNlpEngine  # noqa: E402


class Words(SlimSpacyNlpEngine):
    """Splits into words, which the recognisers look around for context; no model is loaded."""

    def load(self):
        self.nlp = {"en": spacy.blank("en")}


def main():
    texts = [json.loads(line) for line in sys.stdin]
    words = Words(models=[{"lang_code": "en", "model_name": "blank"}])
    engine = AnalyzerEngine(nlp_engine=words, supported_languages=["en"])
    engine.analyze("The first text compiles the patterns.", language="en")
    start = time.thread_time()
    found = [engine.analyze(text, language="en") for text in texts]
    seconds = time.thread_time() - start
    spans = []
    for text, results in zip(texts, found):
        places = [(result.start, result.end) for result in results]
        spans.append([[len(text[:start].encode()), len(text[:end].encode())] for start, end in places])
    json.dump({"seconds": seconds, "spans": spans}, sys.stdout)


main()
