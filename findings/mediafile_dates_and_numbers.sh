#!/bin/sh
# mediafile 0.17.0 (beets' library of tags): dates, tempo and several artists of a FLAC file.
# Expected: a date that begins with its day has its year, or none; 127.5 beats a minute are 127.5; of two artists, both are found.
# "07/12/1998" has the year 7, 127.5 is 127, and of two ARTIST comments `artist` is the first while `artists` is None.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mediafile==0.17.0 mutagen==1.48.1 soundfile==0.14.0 numpy
cat > "$folder/read.py" <<'PYTHON'
import sys, numpy, soundfile
from importlib.metadata import version
from mediafile import MediaFile
from mutagen.flac import FLAC
soundfile.write(sys.argv[1], numpy.zeros(8000), 8000)
file = FLAC(sys.argv[1])
file.update({"DATE": "07/12/1998", "BPM": "127.5", "ARTIST": ["Simon", "Garfunkel"]})
file.save()
read = MediaFile(sys.argv[1])
found = (read.year, read.bpm, read.artist, read.artists)
print("mediafile", version("mediafile"), "year, bpm, artist, artists:", found)
sys.exit(found != (7, 127, "Simon", None))
PYTHON
"$folder/venv/bin/python" "$folder/read.py" "$folder/a.flac"
