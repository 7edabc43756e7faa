"""Signs or verifies a model with PyPI's model-signing, as the arguments say.

    sign|verify MODEL BUNDLE FORM key KEY
    sign MODEL BUNDLE FORM certificate KEY CERTIFICATE CHAIN...
    verify MODEL BUNDLE FORM certificate TRUSTED...

FORM is ALGORITHM or ALGORITHM:SHARD_SIZE for hashing as told, or `as-signed` for what the bundle says.
"""

import pathlib
import sys

from model_signing import hashing, signing, verifying

action, model, bundle, form, method, *files = sys.argv[1:]
files = [pathlib.Path(file) for file in files]

config = hashing.Config()
if ":" in form:
    algorithm, size = form.split(":")
    config.use_shard_serialization(hashing_algorithm=algorithm, shard_size=int(size))
elif form != "as-signed":
    config.use_file_serialization(hashing_algorithm=form)

if action == "sign":
    signer = signing.Config()
    if method == "key":
        signer.use_elliptic_key_signer(private_key=files[0])
    else:
        signer.use_certificate_signer(
            private_key=files[0], signing_certificate=files[1], certificate_chain=files[2:]
        )
    signer.set_hashing_config(config).sign(pathlib.Path(model), pathlib.Path(bundle))
else:
    verifier = verifying.Config()
    if method == "key":
        verifier.use_elliptic_key_verifier(public_key=files[0])
    else:
        verifier.use_certificate_verifier(certificate_chain=files)
    if form != "as-signed":
        verifier.set_hashing_config(config)
    verifier.verify(pathlib.Path(model), pathlib.Path(bundle))
