#!/bin/sh
# transformers 5.24.0: Whisper's English normaliser takes sung words for numbers: "oh oh oh" becomes the one word "000".
# Expected: the text that error rates of Whisper are usually measured on has the words that were sung, spelt alike; the
# normaliser is known to write "fifty two dollars" as "$52" and to drop "hmm" and "uh". What happens: "oh" and "o" are
# digits, and digits in a row are one number: "oh, oh, I love you" is "00 i love you", "one, two, three, four" is
# "1234", "one one one" is "111". So an error rate of lyrics moves both ways: a chorus of a dozen "oh" of which none was
# heard is one error and not twelve, and it is the same error if eleven were heard; of a count-in of four words with one
# wrong, of which the error rate is .25, nothing is right any more, and it is 2.
# Exit status: 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0 jiwer==4.0.0
cat > check.py <<'PYTHON'
import sys
from importlib.metadata import version

import jiwer
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

normalize = EnglishTextNormalizer({})
print("transformers", version("transformers"))
written = {text: normalize(text) for text in ("oh oh oh", "oh, oh, I love you", "one, two, three, four", "one one one")}
for text, after in written.items():
    print(f"{text!r} becomes {after!r}")


def errors(sung, heard):
    counted = jiwer.process_words(sung, heard)
    return counted.substitutions + counted.deletions + counted.insertions, len(counted.references[0])


chorus = "oh " * 12
pairs = {
    "12 x oh, none heard": (f"{chorus}baby come home", "baby come home"),
    "12 x oh, 11 heard": (f"{chorus}baby come home", f"{chorus[3:]}baby come home"),
    "one two three for": ("one two three four", "one two three for"),
}
rows = {}
for name, (sung, heard) in pairs.items():
    rows[name] = errors(sung, heard), errors(normalize(sung), normalize(heard))
    (plain, words), (after, left) = rows[name]
    print(f"{name}: {plain} errors of {words} words; normalised {after} of {left}")
still = list(written.values()) == ["000", "00 i love you", "1234", "111"] and list(rows.values()) == [
    ((12, 15), (1, 4)),
    ((1, 15), (1, 4)),
    ((1, 4), (2, 1)),
]
sys.exit(0 if still else 1)
PYTHON
venv/bin/python check.py 2>/dev/null || { echo "this behaviour has changed"; exit 1; }
