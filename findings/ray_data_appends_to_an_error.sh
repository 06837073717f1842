#!/bin/sh
# Ray Data 2.60.0: an error of a user's function does not come back as it was raised, even where that is asked for.
# Expected: with `DataContext.raise_original_map_exception = True`, "whether to raise the original exception encountered
# in map UDF instead of wrapping it", the caller gets that exception, as from a task of Ray Core: of its class, with its
# arguments. What happens: retries are off (`retried_map_errors` is False), yet each error is told as a failed retry:
# "Failed to apply UDF transform after 1/1 attempts ... configure ray.data.DataContext ..." is appended to its first
# argument, or added as one more argument if the first is no text. Exception(7) has two arguments then. A class that
# takes one argument and pickles well cannot be made again in the caller, so what comes is an UnserializableException,
# which no `except` for the class catches. Without the setting comes a UserCodeException whose `__cause__` is lost.
# Exit status: 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[data]==2.60.0"
cat > "$folder/check.py" <<'PYTHON'
import logging
import os
import pickle
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
import ray.data


class Refused(Exception):
    """Takes one argument, and pickles as it should."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def raised_by(call):
    try:
        call()
    except Exception as exc:
        return exc


def from_core(error):
    @ray.remote
    def fail():
        raise error

    return raised_by(lambda: ray.get(fail.remote()))


def from_data(error):
    def fail(batch):
        raise error

    return raised_by(lambda: ray.data.range(1).map_batches(fail).take_all())


print("Ray", ray.__version__)
assert pickle.loads(pickle.dumps(Refused(7))).code == 7
logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # else it prints each traceback
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
context = ray.data.DataContext.get_current()
context.enable_progress_bars = False
context.raise_original_map_exception = True
print("retried_map_errors:", context.retried_map_errors, "max_map_retries:", context.max_map_retries)
seen = []
for error in (Exception("no"), Exception(7), Refused(7)):
    for way in (from_core, from_data):
        got = way(error)
        arguments = got.cause.args if isinstance(got, ray.exceptions.RayTaskError) else None
        print(f"{error!r} {way.__name__}: {type(got).__name__}, arguments {str(arguments)[:100]}")
        seen.append((isinstance(got, type(error)), arguments))
context.raise_original_map_exception = False
wrapper = from_data(Exception("no")).cause
print(f"without the setting: {type(wrapper).__name__}, __cause__ {wrapper.__cause__!r}")
told = seen[1][1][0].removeprefix("no\n")
expected = [(True, ("no",)), (True, ("no\n" + told,)), (True, (7,)), (True, (7, told)), (True, (7,)), (False, None)]
is_so = seen == expected and wrapper.__cause__ is None
sys.exit(0 if is_so and told.startswith("Failed to apply UDF transform after 1/1 attempts") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py" || { echo "this behaviour has changed"; exit 1; }
