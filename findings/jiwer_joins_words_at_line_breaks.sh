#!/bin/sh
# jiwer 4.0.0: the last word of a line and the first of the next one are one word, unless a line is empty between them.
# Expected: words are what white space parts, so lyrics with line breaks against the same words in one line have a word
# error rate of 0, in whatever way lines are broken. What happens: by default a run of two or more white-space
# characters becomes one space, but a single one stays what it is, and only spaces part words. A verse of eight lines of
# four words against itself in one line has an error rate of .56, of which nothing is the transcriber's; with an empty
# line, or with a space before each break, it is 0. A single tab or no-break space joins too. A text whose break is
# "\r\n" is right, so the same lyrics, saved on Windows, have another error rate. `jiwer.wer_standardize` parts at
# single breaks as well.
# Exit status: 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check jiwer==4.0.0
cat > check.py <<'PYTHON'
import sys
from importlib.metadata import version

import jiwer

numbers = iter(range(32))
lines = [" ".join(f"word{next(numbers)}" for _ in range(4)) for _ in range(8)]
heard = " ".join(lines)
breaks = {
    "line feed": "\n",
    "CR and LF": "\r\n",
    "empty line": "\n\n",
    "space, line feed": " \n",
    "tab": "\t",
    "no-break space": "\xa0",
}
print("jiwer", version("jiwer"), "- the same 32 words in one line, against 8 lines that are parted by")
rates = {name: jiwer.wer(part.join(lines), heard) for name, part in breaks.items()}
for name, rate in rates.items():
    print(f"  {name}: word error rate {rate:.2f}")
standard = jiwer.wer(
    "\n".join(lines), heard, reference_transform=jiwer.wer_standardize, hypothesis_transform=jiwer.wer_standardize
)
print(f"  line feed, with wer_standardize: {standard:.2f}")
joined = [name for name, rate in rates.items() if rate > 0.5]
rest = [rate for name, rate in rates.items() if name not in joined]
sys.exit(0 if joined == ["line feed", "tab", "no-break space"] and not any(rest) and standard == 0 else 1)
PYTHON
venv/bin/python check.py || { echo "this behaviour has changed"; exit 1; }
