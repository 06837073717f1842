#!/bin/sh
# mutagen 1.48.1: the names of a FLAC file's comments.
# Expected: a loop over the tags meets them in the file's order, or in another fixed one. They come in an order that depends on
# Python's hash seed, as keys() goes through a set: code that takes the first of DATE and YEAR finds another year from run to run.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mutagen==1.48.1 soundfile==0.14.0 numpy
cat > "$folder/write.py" <<'PYTHON'
import sys, numpy, soundfile
from mutagen.flac import FLAC
soundfile.write(sys.argv[1], numpy.zeros(8000), 8000)
file = FLAC(sys.argv[1])
file.update({"DATE": "1999", "YEAR": "2010", "BPM": "127", "TEMPO": "90", "KEY": "C"})
file.save()
PYTHON
cat > "$folder/read.py" <<'PYTHON'
import sys, mutagen
print(" ".join(name for name, _ in mutagen.File(sys.argv[1]).tags.items()))
PYTHON
"$folder/venv/bin/python" "$folder/write.py" "$folder/a.flac"
echo "mutagen $("$folder/venv/bin/python" -c 'import mutagen; print(mutagen.version_string)'), by hash seed:"
for seed in 0 1 2 3 4 5; do
    PYTHONHASHSEED=$seed "$folder/venv/bin/python" "$folder/read.py" "$folder/a.flac" | tee -a "$folder/orders"
done
orders=$(sort -u "$folder/orders" | wc -l)
echo "$orders different orders of the same file"
test "$orders" -gt 1
