"""Published models: a local folder, or a name on the Hugging Face hub. The hub's cache works without a network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from train.checkpoint import CheckpointError

TIMEOUT_S = 5.0  # for the hub's first answer; the download itself has no deadline


def published_file(name: str, filename: str) -> Path:
    """Path of one file of the folder or hub model `name`, or `name` itself if it is a file.

    Raises:
        CheckpointError: there is no such file, or it is not in the cache and there is no network.
    """
    if Path(name).is_file():
        return Path(name)
    if Path(name).is_dir():
        path = Path(name) / filename
        if not path.is_file():
            raise CheckpointError(
                f"{name} has no {filename}; give the whole folder of a published model, or the ckpt.pt of a run"
            )
        return path
    return _fetch(name, lambda **options: hf_hub_download(name, filename, **options))


def published_folder(name: str, *, patterns: Sequence[str]) -> Path:
    """The folder `name`, or a local folder with the files of the hub model `name` that match one of `patterns`.

    Raises:
        CheckpointError: the files can neither be downloaded nor found in the cache.
    """
    if Path(name).is_dir():
        return Path(name)
    return _fetch(name, lambda **options: snapshot_download(name, allow_patterns=list(patterns), **options))


def _fetch(name: str, download: Callable[..., str]) -> Path:
    """Download from the hub, or use its cache if the hub does not answer.

    The hub is asked first whether it has the model, because without a network a download retries for half a minute. The
    hub client raises many unrelated exception types: bad name, no network, offline mode, no such model, not allowed.
    """
    refusal = None
    try:
        HfApi().model_info(name, timeout=TIMEOUT_S)
    except Exception as exc:
        refusal = exc
    try:
        return Path(download(local_files_only=refusal is not None))
    except Exception as exc:
        reason = next((line for line in str(refusal or exc).splitlines() if line.strip()), type(exc).__name__)
        raise CheckpointError(
            f"{name!r} is not a file or folder here and could not be fetched from the Hugging Face hub "
            f"({reason.strip().rstrip('.')}); check the name and the network, or give a downloaded folder"
        ) from exc
