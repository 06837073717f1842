"""A whole file, heard in windows by a network in which each frame depends on those around it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from singing.hearing import hear

FRAMES, STEP = 64, 10  # of a window, and samples of a frame; the next window begins 48 frames later
FADING = 0.5  # a sound counts half as much in the next frame, and in the one before


def network(waveforms: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The mean of each frame, and how it rings on in both directions, as a BiLSTM's state might."""
    means = waveforms[:, 0].reshape(len(waveforms), -1, STEP).mean(axis=2)
    frames = np.arange(means.shape[1])
    return {"onset": means @ FADING ** np.abs(frames[:, None] - frames).astype(np.float32)}


@pytest.mark.parametrize("frames", [1, 63, 64, 65, 112, 113, 300])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_frame_is_heard_with_an_eighth_of_a_window_around_it(frames: int, batch_size: int):
    """What is not heard is at least 9 frames away on either side, where sounds of 1 add up to 0.5^8."""
    sound = np.random.default_rng(frames).uniform(0, 1, frames * STEP).astype(np.float32)
    blocks = np.split(sound, range(37, len(sound), 37))
    sizes = {"frames": {"onset": FRAMES}, "window_samples": FRAMES * STEP, "batch_size": batch_size}
    heard = hear(blocks, run=network, **sizes)
    assert (heard.samples, heard.characters, heard.pitch) == (len(sound), None, None)
    whole = network(np.stack([sound, sound])[None])["onset"][0]
    error = np.abs(heard.onset - whole)
    assert error.max() <= FADING**8
    assert error[:32].max() < 1e-5  # far from the first join, whose frame is 56
    if frames > FRAMES:
        assert error[50:62].max() > 1e-4  # a join is heard a little
