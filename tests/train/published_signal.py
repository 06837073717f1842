"""A sound that the golden values of published networks were made from: a chord that is struck twice a second."""

import numpy as np

RATE_HZ = 16_000


def struck_chord(seconds: float) -> np.ndarray:
    """float32 [samples] at 16 kHz, mono, within -1…1."""
    time = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    since = time % 0.5
    partials = sum(np.sin(2 * np.pi * hz * time) / (k + 1) for k, hz in enumerate((220.0, 440.0, 554.37, 659.25)))
    thump = (since < 0.02) * np.sin(2 * np.pi * 90 * time)
    return (0.2 * partials * np.exp(-3 * since) + 0.3 * thump).astype(np.float32)
