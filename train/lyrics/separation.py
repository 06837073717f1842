"""Separates the voice of songs by Open-Unmix, as the paper does (§3.1, §4.1.2).

The package `openunmix` has the networks. Their weights are files of their own: published ones, which are downloaded
once, or those of a folder.
"""

import urllib.error
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from rich.console import Console

from audio import DecodeError, Recording
from train.checkpoint import CheckpointError, read_tensors
from train.data.decode import is_newer, name_flac
from train.data.manifest import Row
from train.data.progress import shown
from train.lyrics.config import PAPER_FRONTEND
from train.lyrics.songs import parse_song

Waveform = NDArray[np.float32]

PUBLISHED = {
    "umxhq": "https://zenodo.org/records/3370489/files/vocals-b62c91ce.pth",
    "umxl": "https://zenodo.org/records/5069601/files/vocals-bccbd9aa.pth",
}
"""The paper's weights, and later ones that may not be used commercially. A name ends with the start of its SHA-256."""

FOLDER_FILES = ("separator.json", "vocals.json", "vocals*.pth")
PIECE_S = 60.0  # with its margins it takes 1 GB
MARGIN_S = 2.0  # heard on both sides of a piece, and then dropped
WITHOUT = "without voices, the network is given the mixture twice"


class SeparationError(RuntimeError):
    """Open-Unmix or its weights cannot be used. The message is one sentence for the user."""


@dataclass(frozen=True)
class Separator:
    """Takes the voice out of a waveform.

    Attributes:
        sample_rate_hz: of both waveforms.
        separate: mono float32 [samples] -> the voice, float32 [samples].
        name: of the weights; other weights make other files.
    """

    sample_rate_hz: int
    separate: Callable[[Waveform], Waveform]
    name: str


@dataclass(frozen=True)
class Separated:
    """The result of a separation.

    Attributes:
        rows: with "voice", except for speech.
        speech: how many rows are speech, which is all voice and stays as it is.
        left_out: the reasons, by track, for recordings that cannot be decoded.
    """

    rows: list[Row]
    speech: int
    left_out: dict[str, str]


def load_separator(weights: str, *, device: torch.device) -> Separator:
    """Load Open-Unmix.

    Args:
        weights: a key of `PUBLISHED`, or a folder as Open-Unmix's own training writes it.
        device: where it runs.

    Raises:
        SeparationError: the package is not installed, or the weights are not at hand or cannot be used.
    """
    try:
        import openunmix
        from openunmix.utils import load_separator as load_folder
    except ImportError as exc:
        raise SeparationError(
            f"a separation needs openunmix, which did not load ({exc}); install it: pip install 'musicsearch[lyrics]' "
            f"({WITHOUT})"
        ) from exc
    folder = Path(weights)
    settings: dict[str, Any] = {"targets": ["vocals"], "residual": True, "device": device}
    if folder.is_dir():
        missing = [name for name in FOLDER_FILES if not any(folder.glob(name))]
        if missing:
            raise SeparationError(f"{folder} holds no {', '.join(missing)}; give a folder that Open-Unmix wrote")
        try:
            module = load_folder(str(folder), **settings)
        except Exception as exc:  # the package reads three files without checks
            raise SeparationError(
                f"the weights in {folder} cannot be used ({type(exc).__name__}: {exc}); give a folder that Open-Unmix "
                "wrote"
            ) from exc
    elif weights in PUBLISHED:
        file = _get(weights)
        module = getattr(openunmix, weights)(pretrained=False, **settings)
        # What the files have besides, windows of the transform, is made anew.
        absent, _ = module.target_models["vocals"].load_state_dict(_read(file), strict=False)
        if absent:
            raise SeparationError(f"{file} lacks {absent[0]}; delete it, so that it is downloaded again")
    else:
        raise SeparationError(f"no weights {weights!r}; give one of {', '.join(PUBLISHED)}, or a folder ({WITHOUT})")
    module.freeze()
    rate_hz = int(module.sample_rate)
    return Separator(rate_hz, _without_rest(module, device=device, least=rate_hz), f"openunmix {weights}")


def _get(weights: str) -> Path:
    """The file of published weights; downloads it the first time."""
    url = PUBLISHED[weights]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / url.rpartition("/")[2]
    if not file.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (urllib.error.URLError, OSError, RuntimeError) as exc:
            raise SeparationError(
                f"cannot download the weights {weights} ({exc}); put {file.name} into {folder}, or give --weights "
                f"FOLDER ({WITHOUT})"
            ) from exc
    return file


def _read(file: Path) -> Any:
    try:
        return read_tensors(file)
    except CheckpointError as exc:
        raise SeparationError(f"{file} holds no weights; delete it, so that it is downloaded again") from exc


def _without_rest(module: Any, *, device: torch.device, least: int) -> Callable[[Waveform], Waveform]:
    """Make a function that returns the network's "vocals" of a mono waveform, which is both channels of its input.

    Args:
        module: Open-Unmix's separator.
        device: where it runs.
        least: samples below which silence is added, because the transform needs some.
    """

    @torch.no_grad()
    def separate(waveform: Waveform) -> Waveform:
        padded = np.pad(waveform, (0, max(least - len(waveform), 0)))
        mixture = torch.from_numpy(padded).to(device).expand(1, 2, -1)
        voice: Waveform = module(mixture)[0, 0].mean(dim=0)[: len(waveform)].cpu().numpy()
        return voice

    return separate


def separate_songs(
    rows: Sequence[Row], *, manifest: Path, out: Path, separator: Separator, console: Console | None = None
) -> Separated:
    """Write the voice of each song as mono FLAC of 16 kHz; an existing file that is newer than its recording is kept.

    Args:
        rows: of `manifest`, which is named in errors.
        out: folder of the new `voices/` folder.
        separator: what separates.
        console: shows progress; None: shows nothing.

    Raises:
        ManifestError: a row's words or notes cannot be used.
        OSError: a file cannot be written.
    """
    songs = [parse_song(row, manifest=manifest) for row in rows]
    (out / "voices").mkdir(parents=True, exist_ok=True)
    separated, speech, left_out = [], 0, {}
    for row, song in shown(zip(rows, songs, strict=True), total=len(rows), doing="separated", console=console):
        if song.is_speech:
            separated.append(row)
            speech += 1
            continue
        file = name_flac(song.audio, folder=out / "voices", made_with=separator.name)
        try:
            if not is_newer(file, than=song.audio):
                _write_voice(song.audio, file, separator=separator)
        except DecodeError as exc:
            left_out[row.track_id] = f"cannot decode {song.audio}: {exc.reason}"
            continue
        separated.append(replace(row, extra={**row.extra, "voice": str(file)}))
    return Separated(separated, speech, left_out)


def _write_voice(path: Path, file: Path, *, separator: Separator) -> None:
    rate_hz = PAPER_FRONTEND.sample_rate_hz
    temporary = file.with_suffix(".tmp")
    resampler = soxr.ResampleStream(separator.sample_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
    try:
        with soundfile.SoundFile(temporary, "w", rate_hz, 1, subtype="PCM_16", format="FLAC") as flac:
            blocks = Recording(path, sample_rate_hz=separator.sample_rate_hz).blocks()
            for voice in separate_stream(blocks, separator=separator):
                flac.write(np.clip(resampler.resample_chunk(voice), -1.0, 1.0))
            flac.write(np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1.0, 1.0))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def separate_stream(
    blocks: Iterable[Waveform], *, separator: Separator, piece_s: float = PIECE_S, margin_s: float = MARGIN_S
) -> Iterator[Waveform]:
    """Separate a recording piece by piece, so that a long recording needs no more memory.

    Args:
        blocks: float32 [samples] of any length, at the separator's rate.
        separator: what separates.
        piece_s: seconds that come out at once.
        margin_s: seconds that are heard before and after them, at most as many as a piece has.

    Yields:
        float32 [samples]; altogether as many as came in.
    """
    piece, margin = (round(seconds * separator.sample_rate_hz) for seconds in (piece_s, margin_s))
    held, before = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= before + piece + margin:
            yield separator.separate(held[: before + piece + margin])[before : before + piece]
            held, before = held[before + piece - margin :], margin
    if len(held) > before:
        yield separator.separate(held)[before:]
