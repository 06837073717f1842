#!/bin/sh
# torchaudio 2.11.0: `functional.loudness` measures loud music too low, as its filters clip what they pass on.
# Expected: the loudness of ITU-R BS.1770-4, which the documentation names, as pyloudnorm measures it to .001 LU for
# quiet sounds; ten times the amplitude is 20 LU more. What happens: the first filter of the recommendation lifts what
# is above 2 kHz by 4 dB, and its samples beyond -1 to 1 are cut to that, inside the measure and whatever the peak of
# the sound itself, which here is below 1. A tone of 4 kHz at full scale reads -2.19 and not .14, noise with the
# loudness of a hard-mastered song -6.63 and not -6.15, a square wave 3.3 LU too low; a tenth of the amplitude costs
# 17.7, 19.5 and 16.7 LU. So whoever brings a collection to one loudness leaves the loudest and brightest records louder
# than the rest. To divide by ten first and add 20 LU mends it. The documentation of `lfilter` tells that it clamps, and
# of the biquads and of `loudness` not.
# Exit status: 0 while that is so, 1 when it has changed. From PyPI, torch for Linux on x86-64 is several gigabytes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    torch==2.11.0 torchaudio==2.11.0 pyloudnorm==0.2.0 numpy==2.4.6
cat > check.py <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pyloudnorm
import torch
from torchaudio.functional import loudness

RATE_HZ = 44_100
times = np.arange(10 * RATE_HZ) / RATE_HZ
sounds = {
    "tone of 4 kHz": np.sin(2 * np.pi * 4_000 * times),
    "square wave of 2 kHz": np.sign(np.sin(2 * np.pi * 2_000 * times)),
    "limited noise": np.clip(0.35 * np.random.default_rng(0).standard_normal(len(times)), -1, 1),
}
meter = pyloudnorm.Meter(RATE_HZ)
print("torchaudio", version("torchaudio"), "pyloudnorm", version("pyloudnorm"), "- LUFS at full scale and 20 dB below")
off = {}
for name, sound in sounds.items():
    scaled = [0.99 * sound, 0.099 * sound]
    torchs = [float(loudness(torch.from_numpy(samples)[None], RATE_HZ)) for samples in scaled]
    others = [meter.integrated_loudness(samples) for samples in scaled]
    off[name] = [ours - theirs for ours, theirs in zip(torchs, others)]
    print(f"{name}: torchaudio {torchs[0]:.2f}, {torchs[1]:.2f}; pyloudnorm {others[0]:.2f}, {others[1]:.2f}")
loud = [pair[0] for pair in off.values()]
quiet = [abs(pair[1]) for pair in off.values()]
sys.exit(0 if max(loud) < -0.4 and min(loud) < -3 and max(quiet) < 0.01 else 1)
PYTHON
venv/bin/python check.py || { echo "this behaviour has changed"; exit 1; }
