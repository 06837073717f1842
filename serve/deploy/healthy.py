"""Exits with 0 if every model can be called, 1 if not (yet), 3 if the process of a Python model died.

Triton stays "ready" without that process and does not restart it. Since the releases of 2026, the model's own path
reports it.
"""

import http.client
import sys

PYTHON_MODELS = ("audio_embedding", "text_tokenizer")


def is_ready(path: str) -> bool:
    # http.client, not urllib: requests to loopback must not go through a proxy from the environment.
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=3)
    connection.request("GET", path)
    return connection.getresponse().status == 200


if not is_ready("/v2/health/ready"):
    sys.exit("the server is not ready")
for model in PYTHON_MODELS:
    if not is_ready(f"/v2/models/{model}/ready"):
        print(f"the server is ready, but its model {model} is not", file=sys.stderr)
        sys.exit(3)
