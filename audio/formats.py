"""The file suffixes of audio files."""

AUDIO_EXTENSIONS = frozenset(
    (
        *(".mp3", ".mp2", ".mp1", ".mpa", ".aac", ".adts", ".loas"),  # MPEG
        *(".m4a", ".m4b", ".m4r", ".f4a", ".3ga", ".alac", ".caf"),
        *(".ogg", ".oga", ".opus", ".spx", ".flac", ".mka", ".weba"),
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".voc", ".8svx"),
        *(".wma", ".xwma", ".ra", ".oma", ".aa3", ".at3", ".vqf", ".amr", ".awb"),
        *(".wv", ".ape", ".tta", ".tak", ".mpc", ".mp+", ".shn", ".rka", ".bonk", ".osq", ".qoa"),
        *(".dsf", ".dff", ".wsd", ".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".mlp", ".thd", ".truehd"),
    )
)
"""Suffixes, in lower case, of the formats that FFmpeg decodes in PyAV's wheels.

Those wheels cannot play note formats (MIDI, trackers, game chips). A file that is named explicitly is tried, whatever
its suffix."""
