import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from train.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
faults = []
for _ in range(2):
    for _ in range(10):
        torch.ones(2**24)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[1] - faults[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_freed_memory_is_not_faulted_in_again():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, word], check=True, capture_output=True, text=True).stdout)
        for word in ("keep", "give back")
    )
    assert kept < given_back / 10
