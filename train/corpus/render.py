"""Renders a score with FluidSynth to a mono waveform.

FluidSynth plays without effects, at 32 kHz or more. Room, tone and the conversion to the output rate are one
multiplication of spectra here. The same score and seed give the same samples, whatever was rendered before.
"""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from .compose.instruments import INSTRUMENTS, KITS
from .compose.score import Score
from .errors import CorpusError
from .sound_fonts import DRUM_BANK, check_sound_font, missing_presets
from .voices.speech import RATE_HZ as VOICE_RATE_HZ

SYSTEM_SOUND_FONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/sounds/sf3/default-GM.sf3",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/soundfonts/default.sf2",
    "/opt/homebrew/share/soundfonts/default.sf2",
)
MIN_RENDER_RATE_HZ = 32_000  # below this, the aliasing of resampled instrument samples is audible
BLOCK_SAMPLES = 64  # FluidSynth applies events at multiples of this: 2 ms at 32 kHz
DRUM_CHANNEL = 9
POLYPHONY = 128  # voices; FluidSynth drops the quietest ones beyond this, which keeps dense clips fast
LOUDNESS_DBFS = (-24.0, -14.0)  # range of the random RMS level
PEAK_LIMIT = 0.95
LEVEL_BLOCK = 1600  # samples per block in which the level of voice and accompaniment is measured: 50 ms at 32 kHz
SOUNDING_SHARE = 0.01  # share of the loudest block's power; a voice sounds in all blocks above it
SILENT_POWER, ALONE_POWER = 1e-8, 1e-3
TILT_DB = 4.0  # largest random spectral tilt, at the ends of the band


def find_sound_font() -> Path:
    """Return the first of SYSTEM_SOUND_FONTS that exists.

    Raises:
        CorpusError: none of them exists.
    """
    for path in map(Path, SYSTEM_SOUND_FONTS):
        if path.is_file():
            return path
    raise CorpusError(
        "found no General MIDI sound font in the usual places; install one (Debian: "
        "apt-get install fluidsynth fluid-soundfont-gm) or name one with --soundfont FILE.sf2"
    )


def _fluidsynth() -> ModuleType:
    try:
        import fluidsynth
    except ImportError as error:
        raise CorpusError(
            f"FluidSynth did not load ({error}); install the library (Debian: apt-get install fluidsynth "
            "fluid-soundfont-gm) and the Python package pyfluidsynth"
        ) from error
    module: ModuleType = fluidsynth
    return module


class Renderer:
    """FluidSynth with one sound font that stays loaded across tracks.

    A synthesiser that has played keeps traces of the sound (up to -40 dB in version 2.3, even after a system reset). So
    each track gets a new one, which takes under 1 ms. Loading the font is slow, so the font is shared.

    Args:
        sound_font: an .sf2 or .sf3 file with the General MIDI presets.
        sample_rate_hz: sample rate of the output.

    Raises:
        CorpusError: libfluidsynth is missing, the file is no sound font, or it lacks a preset.
    """

    def __init__(self, sound_font: Path, *, sample_rate_hz: int):
        self._fluidsynth = fluidsynth = _fluidsynth()
        check_sound_font(sound_font)
        self.sample_rate_hz = sample_rate_hz
        self._decimation = math.ceil(MIN_RENDER_RATE_HZ / sample_rate_hz)
        self._render_rate_hz = sample_rate_hz * self._decimation

        def bind(name: str, *types: type) -> Callable[..., int]:
            arguments = ((f"a{i}", kind, 1) for i, kind in enumerate(types))
            bound: Callable[..., int] = fluidsynth.cfunc(name, fluidsynth.c_int, *arguments)
            return bound

        pointer, integer = fluidsynth.c_void_p, fluidsynth.c_int
        # Use float output, because the dither of the 16-bit output depends on what was played before.
        self._write_float = bind("fluid_synth_write_float", pointer, integer, *(pointer, integer, integer) * 2)
        self._add_font = bind("fluid_synth_add_sfont", pointer, pointer)
        self._remove_font = bind("fluid_synth_remove_sfont", pointer, pointer)
        set_log = bind("fluid_set_log_function", integer, pointer, pointer)
        for level in (1, 2):  # silence errors, which become CorpusError, and warnings that a new synth has no font
            set_log(level, None, None)

        self._owner = self._new_synth()
        font_id = self._owner.sfload(str(sound_font))
        if font_id == -1:
            raise CorpusError(f"FluidSynth cannot read the sound font {sound_font}; it may be damaged")
        missing = missing_presets(sound_font)
        if missing:
            raise CorpusError(
                f"sound font {sound_font} has no preset for {', '.join(missing)}; "
                "use a complete General MIDI font such as FluidR3_GM.sf2"
            )
        self._font = fluidsynth.fluid_synth_get_sfont_by_id(self._owner.synth, font_id)
        self._remove_font(self._owner.synth, self._font)

    def render(self, score: Score, *, seed: int, voice: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Play a score.

        Args:
            score: the score.
            seed: for the random room, tone and level.
            voice: the sound of the score's vocals, float32 [samples] at speech.RATE_HZ; it is mixed in at
                `score.vocals.level_db`.

        Returns:
            float32 [round(score.seconds * sample_rate_hz)], mono, |x| <= PEAK_LIMIT.
        """
        dry = self._play(score)
        rng = np.random.Generator(np.random.PCG64(seed))
        samples = round(score.seconds * self.sample_rate_hz)
        if voice is not None:
            dry = self._mix(dry, voice, level_db=score.vocals.level_db if score.vocals else 0.0)
        wet = self._produce(dry, score=score, samples=samples, rng=rng)
        rms = math.sqrt(float(np.mean(wet**2))) + 1e-9
        gain = 10 ** (rng.uniform(*LOUDNESS_DBFS) / 20) / rms
        return (wet * min(gain, PEAK_LIMIT / (float(np.abs(wet).max()) + 1e-9))).astype(np.float32)

    def close(self) -> None:
        """Free the font."""
        self._add_font(self._owner.synth, self._font)
        self._owner.delete()

    def _new_synth(self) -> Any:
        return self._fluidsynth.Synth(
            gain=0.4,
            samplerate=float(self._render_rate_hz),
            channels=16,
            **{"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": POLYPHONY},
        )

    def _play(self, score: Score) -> NDArray[np.float32]:
        """Play the parts: float32 [at least score.seconds of samples at the render rate], the mean of two channels."""
        synth = self._new_synth()
        font_id = self._add_font(synth.synth, self._font)
        events: list[tuple[int, int, int, int, int]] = []  # block, 0 off / 1 on, channel, key, velocity
        free = [channel for channel in range(16) if channel != DRUM_CHANNEL]
        for part in score.parts:
            if part.role == "drums":
                channel, bank, program = DRUM_CHANNEL, DRUM_BANK, KITS[part.instrument]
            else:
                channel, bank, program = free.pop(0), 0, INSTRUMENTS[part.instrument].program
            synth.program_select(channel, font_id, bank, program)
            synth.cc(channel, 7, part.level)
            for note in part.notes:
                on = self._block(note.start)
                off = max(on + 1, self._block(note.start + note.length))
                events.append((on, 1, channel, note.pitch, note.velocity))
                events.append((off, 0, channel, note.pitch, 0))
        events.sort()
        blocks = math.ceil(score.seconds * self._render_rate_hz / BLOCK_SAMPLES)
        stereo = np.zeros((2, blocks * BLOCK_SAMPLES), dtype=np.float32)
        at = 0
        for block, kind, channel, key, strength in events:
            if block >= blocks:
                break
            if block > at:
                self._pull(synth, stereo, at, block)
                at = block
            if kind:
                synth.noteon(channel, key, strength)
            else:
                synth.noteoff(channel, key)
        self._pull(synth, stereo, at, blocks)
        self._remove_font(synth.synth, self._font)
        synth.delete()
        mono: NDArray[np.float32] = stereo.mean(axis=0)
        return mono

    def _block(self, time_s: float) -> int:
        return round(time_s * self._render_rate_hz / BLOCK_SAMPLES)

    def _pull(self, synth: Any, stereo: NDArray[np.float32], start: int, end: int) -> None:
        """Let the synthesiser fill blocks start to end of stereo, float32 [2, samples]."""
        left, right = stereo[0].ctypes.data, stereo[1].ctypes.data
        first = start * BLOCK_SAMPLES
        self._write_float(synth.synth, (end - start) * BLOCK_SAMPLES, left, first, 1, right, first, 1)

    def _mix(self, dry: NDArray[np.float32], voice: NDArray[np.float32], *, level_db: float) -> NDArray[np.float32]:
        """Add a voice, `level_db` over the rest while it sounds; float32 [samples] at the render rate."""
        sung: NDArray[np.float32] = soxr.resample(voice, VOICE_RATE_HZ, self._render_rate_hz)[: len(dry)]
        sung = np.pad(sung, (0, len(dry) - len(sung)))
        level = _level(sung)
        sounding = level > level.max() * SOUNDING_SHARE
        voice_power = float(np.mean(level[sounding]))
        rest_power = float(np.mean(_level(dry)[sounding]))
        if rest_power < SILENT_POWER:  # a cappella, or all instruments pause
            return sung * math.sqrt(ALONE_POWER / voice_power)
        return dry + sung * math.sqrt(rest_power / voice_power * 10 ** (level_db / 10))

    def _produce(
        self, dry: NDArray[np.float32], *, score: Score, samples: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Down-sample and add the room and a spectral tilt in one product of spectra; float64 [samples]."""
        room = _room(score.reverb_s, score.reverb_mix, self.sample_rate_hz, rng)
        # Pad to the sum of both lengths, so that the circular convolution does not wrap, and round up to a fast FFT
        # size.
        size = math.ceil((samples + len(room)) / 4096) * 4096
        bins = size // 2 + 1
        spectrum = np.fft.rfft(dry.astype(np.float64), size * self._decimation)[:bins] / self._decimation
        relative = np.linspace(0, 1, bins)  # 1 is the output's Nyquist frequency
        if self._decimation > 1:
            spectrum *= np.clip((1 - relative) / 0.06, 0, 1)  # roll off over the top 6 % of the band
        octaves = np.log2(np.maximum(relative, 1 / 128)) + 3.5  # -3.5 to 3.5 around 0.09 Nyquist
        spectrum *= 10 ** (rng.uniform(-TILT_DB, TILT_DB) * octaves / 3.5 / 20)
        wet: NDArray[np.float64] = np.fft.irfft(spectrum * np.fft.rfft(room, size), size)[:samples]
        return wet


def _level(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean power in blocks of LEVEL_BLOCK samples: float64 [blocks]."""
    blocks = len(waveform) // LEVEL_BLOCK
    split = waveform[: blocks * LEVEL_BLOCK].reshape(blocks, LEVEL_BLOCK).astype(np.float64)
    power: NDArray[np.float64] = np.mean(split**2, axis=1)
    return power


def _room(rt60_s: float, mix: float, sample_rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Make an impulse response: the direct sound, then low-passed noise that falls by 60 dB in rt60_s."""
    count = max(1, int(rt60_s * sample_rate_hz))
    noise = rng.standard_normal(count)
    noise[1:] = 0.4 * noise[1:] + 0.6 * noise[:-1]
    noise *= 10 ** (-3 * np.arange(count) / count)
    noise[: min(count, int(0.012 * sample_rate_hz))] = 0.0  # the first reflection takes 12 ms
    noise *= math.sqrt(mix / (float(np.sum(noise**2)) + 1e-12)) if mix > 0 else 0.0
    noise[0] = 1.0
    return noise
