"""What a run was made from, for its checkpoint."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import torchaudio
import transformers


def describe_run(manifest: str, *, seed: int, digest: str, device: torch.device) -> dict[str, Any]:
    """What a run was made from: names and digests. No paths, because a checkpoint is copied to other machines.

    Args:
        manifest: the manifest's name.
        seed: of the run.
        digest: of the manifest, in hex.
        device: on which it trains.
    """
    return {
        "manifest": manifest,
        "manifest_sha256": digest,
        "seed": seed,
        "git_commit": git_commit(),
        "device": device_name(device),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),  # a subclass of str, which weights_only loading refuses
            "torchaudio": str(torchaudio.__version__),
            "transformers": transformers.__version__,
        },
    }


def git_commit() -> str:
    """The commit of the checkout that this file lies in, or "unknown"."""
    project = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(project), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    top, commit = printed.splitlines()
    return commit if project.samefile(top) else "unknown"  # a wheel may be installed inside another repository


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the CPU's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}"
