"""A lyrics transcriber whose right answers are known: sounds spell what it hears.

It has the layout, the parameters and the tensors of an exported one. In each frame, the mean of the samples times 64 is
the number of a character, for the mixture, and of a key, for the voice. A number from 31 on is the onset of a note.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.triton_config import TranscriberParameters, write_transcriber_config
from singing.alphabet import CHARACTERS, CLASSES, encode
from singing.sung import PITCHES

RATE_HZ = 16_000
STEP = 2_048  # samples of a frame of characters; one of notes is half as long
FRAME_S = STEP / RATE_HZ
FRAMES = 16  # of characters in a window of 2.048 s
SCALE = 64
BLANK = "_"  # in a spelling
CERTAIN = 20.0  # logits fall by this times the squared difference of numbers


def spell(spelling: str) -> NDArray[np.float32]:
    """A sound in which each character of the alphabet, or "_" for the blank, lasts a frame: float32 [samples]."""
    numbers = [0 if character == BLANK else encode(character)[0] for character in spelling]
    return np.repeat(np.array(numbers, np.float32) / SCALE, STEP)


def build_spelling_transcriber(repository: Path, *, characters: str = CHARACTERS) -> Path:
    """Write `lyrics_transcriber/` into a model repository, which is made if it is absent."""
    graph = _graph()
    parameters = TranscriberParameters(
        sample_rate_hz=RATE_HZ,
        window_samples=FRAMES * STEP,
        characters=characters,
        method="multi-task",
        model_name="spelling",
        fingerprint=hashlib.sha256(graph).hexdigest(),
        parity_error="0",
    )
    outputs = {"characters": [CLASSES, FRAMES], "pitch": [PITCHES, 2 * FRAMES], "onset": [2 * FRAMES]}
    folder = repository / "lyrics_transcriber"
    (folder / "1").mkdir(parents=True)
    (folder / "1/model.onnx").write_bytes(graph)
    (folder / "config.pbtxt").write_text(write_transcriber_config(parameters, outputs=outputs), encoding="utf-8")
    return repository


def _graph() -> bytes:
    nodes: list[onnx.NodeProto] = []
    constants = []

    def constant(name: str, value: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def add(kind: str, *inputs: str, **attributes: int) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"value_{len(nodes)}"], **attributes))
        return f"value_{len(nodes) - 1}"

    def numbers(channel: int, frames: int) -> str:
        """The number of each frame: [batch, 1, frames]."""
        shape = constant(f"shape_{channel}_{frames}", np.array([0, 2, frames, -1], np.int64))
        axis = constant(f"axis_{channel}_{frames}", np.array([3], np.int64))
        means = add("ReduceMean", add("Reshape", "waveforms", shape), axis, keepdims=0)
        one = add("Gather", means, constant(f"channel_{channel}_{frames}", np.array([channel], np.int64)), axis=1)
        return add("Mul", one, constant(f"scale_{channel}_{frames}", np.array(SCALE, np.float32)))

    def logits(number: str, count: int) -> str:
        off = add("Sub", number, constant(f"numbers_{count}", np.arange(count, dtype=np.float32)[None, :, None]))
        return add("Mul", add("Mul", off, off), constant(f"certain_{count}", np.array(-CERTAIN, np.float32)))

    written, sung = numbers(0, FRAMES), numbers(1, 2 * FRAMES)
    over = add("Sub", sung, constant("least_onset", np.array(30.5, np.float32)))
    steep = add("Mul", over, constant("steep", np.array(CERTAIN, np.float32)))
    flat = add("Squeeze", steep, constant("one", np.array([1], np.int64)))
    for name, kind, value, attributes in (
        ("characters", "LogSoftmax", logits(written, CLASSES), {"axis": 1}),
        ("pitch", "Softmax", logits(sung, PITCHES), {"axis": 1}),
        ("onset", "Sigmoid", flat, {}),
    ):
        nodes.append(helper.make_node(kind, [value], [name], **attributes))
    shapes = {"characters": [CLASSES, FRAMES], "pitch": [PITCHES, 2 * FRAMES], "onset": [2 * FRAMES]}
    graph = helper.make_graph(
        nodes,
        "spelling",
        [helper.make_tensor_value_info("waveforms", TensorProto.FLOAT, ["batch", 2, FRAMES * STEP])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in shapes.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
