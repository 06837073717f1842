"""The General MIDI sound fonts of Debian's packages; finds those that are installed."""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from .compose.instruments import INSTRUMENTS, KITS
from .compose.score import Score
from .errors import CorpusError

DRUM_BANK = 128
_PRESET_BYTES = 38  # size of a record of the phdr chunk: name, program, bank and 14 more bytes (SoundFont 2.04, 7.2)


class SoundFont(NamedTuple):
    """A font that Debian ships."""

    package: str
    path: str
    silent: tuple[str, ...] = ()  # instruments with a preset whose upper keys are silent


DEBIAN_SOUND_FONTS = (
    SoundFont("fluid-soundfont-gm", "/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    SoundFont("fluidr3mono-gm-soundfont", "/usr/share/sounds/sf3/FluidR3Mono_GM.sf3"),
    SoundFont("musescore-general-soundfont", "/usr/share/sounds/sf3/MuseScore_General_Full.sf3"),
    SoundFont("timgm6mb-soundfont", "/usr/share/sounds/sf2/TimGM6mb.sf2", silent=("tin whistle",)),
    SoundFont("csound-soundfont", "/usr/share/sounds/sf2/sf_GMbank.sf2"),
    SoundFont("opl3-soundfont", "/usr/share/sounds/sf2/OPL-3_FM_128M.sf2"),
)
_SILENT = {Path(font.path).name: font.silent for font in DEBIAN_SOUND_FONTS}


def find_all_sound_fonts() -> tuple[list[Path], list[str]]:
    """Find every installed font of DEBIAN_SOUND_FONTS that is complete.

    Returns:
        The fonts, and a sentence for each installed font that lacks presets.

    Raises:
        CorpusError: none is installed and complete.
    """
    found, skipped = [], []
    for font in DEBIAN_SOUND_FONTS:
        path = Path(font.path)
        if not path.is_file():
            continue
        missing = missing_presets(path)
        if missing:
            skipped.append(f"{path} is left out: it has no preset for {', '.join(missing)}")
        else:
            found.append(path)
    if not found:
        packages = " ".join(font.package for font in DEBIAN_SOUND_FONTS[:-1])
        raise CorpusError(
            f"--soundfont all found no General MIDI sound font; install some (Debian: apt-get install {packages}) or "
            "name one with --soundfont FILE.sf2"
        )
    return found, skipped


def check_sound_font(path: Path) -> None:
    """Raise CorpusError unless `path` is a file that begins like an .sf2 or .sf3 file."""
    if not path.is_file():
        raise CorpusError(f"sound font {path} does not exist; give an .sf2 or .sf3 file")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise CorpusError(f"{path} is not a sound font; give an .sf2 or .sf3 file")


def missing_presets(path: Path) -> list[str]:
    """Return the names of the instruments and kits without a preset in the font; reads only its list of presets.

    Raises:
        CorpusError: the file is no sound font, or has no list of presets.
    """
    check_sound_font(path)
    presets = _presets(path)
    needed = {name: (0, instrument.program) for name, instrument in INSTRUMENTS.items()}
    needed |= {name: (DRUM_BANK, program) for name, program in KITS.items()}
    return [name for name, preset in needed.items() if preset not in presets]


def _presets(path: Path) -> set[tuple[int, int]]:
    """Return (bank, program) of each preset."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # Search instead of walking the chunks, because .sf3 files do not pad compressed samples to even lengths.
        start = content.rfind(b"pdtaphdr") + 12
        size = int.from_bytes(content[start - 4 : start], "little")
        if start < 12 or start + size > len(content):
            raise CorpusError(f"sound font {path} has no list of presets; it may be damaged")
        records = [content[at + 20 : at + 24] for at in range(start, start + size, _PRESET_BYTES)]
    return {(bank, program) for program, bank in (struct.unpack("<HH", record) for record in records)}


def can_play(sound_font: Path, score: Score) -> bool:
    """Tell whether a font sounds for all instruments of a score; True for fonts that are not Debian's."""
    silent = _SILENT.get(sound_font.name, ())
    return not any(part.instrument in silent for part in score.parts)
