"""Which of several audio streams is heard."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.audio.sounds import RATE_HZ, SAMPLE_RATE_HZ, read
from tests.client.audio_files import tone


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 15, reason="PyAV 14.0 marks no stream")
@pytest.mark.parametrize("default", [0, 1])
def test_the_default_stream_is_heard(tmp_path: Path, default: int) -> None:
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = int(number == default)  # AV_DISPOSITION_DEFAULT is 1
        for stream, frequency_hz in zip(streams, (500, 2000), strict=True):
            samples = (32_767 * tone(frequency_hz, seconds=1)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    spectrum = np.abs(np.fft.rfft(read(path)[0][:RATE_HZ]))
    assert np.argmax(spectrum) == (500, 2000)[default]
