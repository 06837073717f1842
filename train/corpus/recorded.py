"""Recorded music as rows without captions: `python -m train.corpus.recorded --out DIR [FOLDER ...] [--debian]`.

The music comes from folders or from Debian packages with free music (`debian_music.txt` names them). apt-get fetches
the packages; they are unpacked, not installed. DIR/manifest.jsonl gets a row for each recording of at least 20 s, with
the source "recorded" and its origin. DIR/left_out.jsonl lists the files that were left out, and why. The split of a
recording, "train" or "val", depends only on its sound, so it does not change when others are added or removed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rich.console import Console

from audio import DecodeError, open_container
from audio.formats import AUDIO_EXTENSIONS
from train.data.check import Sound, decode
from train.data.manifest import Row, write_manifest
from train.data.output import local_path
from train.data.processes import ProcessDiedError, each
from train.data.progress import shown

SHORTEST_S = 20.0  # shorter files of a game are not music but sound effects
VAL_SHARE = 0.05
ARCHIVE_SUFFIXES = frozenset((".zip", ".pk3", ".pk4"))  # zip files in which games keep their data
CREDIT_TAGS = ("title", "artist", "album", "genre", "copyright", "license")
DEBIAN_PACKAGES = tuple((Path(__file__).parent / "debian_music.txt").read_text(encoding="utf-8").split())


class RecordedError(RuntimeError):
    """The music cannot be fetched or read. The message is one sentence for the user."""


class UnknownPackageError(RecordedError):
    """apt-get does not know the package."""


@dataclass(frozen=True)
class Collected:
    """The rows in the order of their files, and the files left out, each with the reason."""

    rows: list[Row]
    left_out: list[tuple[Path, str]]


def fetch_package(name: str, *, packages: Path) -> Path:
    """Return the folder `packages / name` with a Debian package's audio and copyright file; fetch it if missing.

    Raises:
        UnknownPackageError: apt-get does not know the package.
        RecordedError: there is no apt-get or dpkg-deb, no network, or no disk space.
    """
    if (packages / name).is_dir():
        return packages / name
    if shutil.which("apt-get") is None:
        raise RecordedError(
            f"cannot fetch the package {name!r}, because apt-get is not installed; use a Debian system, or give folders"
        )
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages, prefix=".fetch-") as folder:
        command = ["apt-get", "download", name]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=False
        )
        if "Unable to locate package" in done.stderr or "has no installation candidate" in done.stderr:
            raise UnknownPackageError(
                f"apt-get knows no package {name!r}; check its name in this release (apt-cache search), whether "
                "its section is enabled, and whether `apt-get update` has been run"
            )
        debs = list(Path(folder).glob("*.deb"))
        if done.returncode or not debs:
            problem = (done.stderr.strip().splitlines() or ["without a message"])[-1]
            raise RecordedError(f"apt-get cannot download {name!r} ({problem}); check the network and try again")
        return unpack_package(debs[0], packages=packages)


def unpack_package(deb: Path, *, packages: Path) -> Path:
    """Unpack the audio of a .deb file, its copyright file and its control file into `packages / NAME`; return it.

    Audio in a zip archive goes into a folder with the archive's name. Nothing else is written, and no script of the
    package is run.

    Raises:
        RecordedError: there is no dpkg-deb, or the file is no Debian package.
    """
    if shutil.which("dpkg-deb") is None:
        raise RecordedError(
            f"cannot unpack {deb}, because dpkg-deb is not installed; unpack the file elsewhere and give the folder"
        )
    asked = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=False)
    control = _parse_control(asked.stdout)
    if asked.returncode or "Package" not in control:
        raise RecordedError(f"{deb} is not a Debian package that dpkg-deb can read; fetch it again")
    folder = packages / control["Package"]
    if folder.is_dir():
        return folder
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages, prefix=".unpack-") as temporary:
        partial = Path(temporary) / "package"
        partial.mkdir()
        (partial / "control").write_text(asked.stdout, encoding="utf-8")
        command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
        try:
            with (
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking,
                tarfile.open(fileobj=unpacking.stdout, mode="r|") as files,
            ):
                for member in files:
                    content = files.extractfile(member) if member.isfile() else None
                    if content is not None:
                        _keep(content, member.name, folder=partial, name=control["Package"])
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error) as exc:
            raise RecordedError(f"{deb} is damaged ({exc}); fetch it again") from exc
        partial.rename(folder)
    return folder


def collect(
    folders: Sequence[Path], *, packages: Sequence[Path], out: Path, workers: int = 1, console: Console | None = None
) -> Collected:
    """Decode every audio file of these folders, and make rows of the music files.

    A file is left out if it decodes to the same samples as an earlier file, whatever its format and tags.

    Args:
        folders: folders of music.
        packages: folders that `unpack_package` wrote.
        out: the manifest's folder; a track_id is its file's path relative to it.
        workers: number of decoding processes; 1: decode in this process.
        console: shows progress; None: shows nothing.

    Raises:
        RecordedError: a folder is missing, or none of them has music.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RecordedError(f"there is no folder {folder}; give folders of music, or .deb files")
    homes = {path: folder for folder in (*packages, *folders) for path in _audio_files(folder)}
    if not homes:
        given = ", ".join(str(folder) for folder in (*packages, *folders))
        raise RecordedError(f"no audio file in {given}; expected files such as .flac, .mp3 and .ogg")
    try:
        decoded = shown(each(decode, list(homes), workers=workers), total=len(homes), doing="decoded", console=console)
        sounds = dict(zip(homes, decoded, strict=True))
    except ProcessDiedError as exc:
        raise RecordedError(str(exc)) from exc
    rows, left_out = [], []
    first_of: dict[str, Path] = {}
    for path, sound in sounds.items():
        if reason := _unfit(sound):
            left_out.append((path, reason))
        elif sound.fingerprint in first_of:
            left_out.append((path, f"the same sound as {first_of[sound.fingerprint]}"))
        else:
            first_of[sound.fingerprint] = path
            home = homes[path]
            origin = _package_origin(home) if home in packages else {"folder": home.name}
            extra = origin | {"seconds": round(sound.seconds, 2)} | _credits(path)
            track_id = Path(os.path.relpath(path, out)).as_posix()
            rows.append(Row(path, (), track_id, _split_of(sound), source="recorded", extra=extra))
    if not rows:
        reasons = Counter(reason.split(":")[0] for _, reason in left_out).most_common(2)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise RecordedError(f"none of {len(left_out)} audio files is music of {SHORTEST_S:g} s or more ({said})")
    return Collected(rows, left_out)


def _keep(content: IO[bytes], member: str, *, folder: Path, name: str) -> None:
    """Write a member of a package if it is audio, the copyright file or an archive with audio."""
    path = PurePosixPath(member)
    target = _within(folder, path)
    suffix = path.suffix.lower()
    if suffix in AUDIO_EXTENSIONS:
        _write(content, target)
    elif path.parts[-4:] == ("share", "doc", name, "copyright"):
        _write(content, folder / "copyright")
    elif suffix in ARCHIVE_SUFFIXES:
        with tempfile.TemporaryFile(dir=folder) as file:
            shutil.copyfileobj(content, file)
            if not zipfile.is_zipfile(file):
                return
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    inner = PurePosixPath(entry.filename)
                    if inner.suffix.lower() in AUDIO_EXTENSIONS and not entry.is_dir():
                        with archive.open(entry) as sound:
                            _write(sound, _within(target, inner))


def _within(folder: Path, member: PurePosixPath) -> Path:
    """Return the target path of an archive member; it is never outside of `folder`."""
    return folder.joinpath(*(part for part in member.parts if part not in ("/", ".", "..")))


def _write(content: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)


def _audio_files(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file() and not path.name.startswith(".")
    )


def _unfit(sound: Sound) -> str:
    """Return why a file is left out; "" if it is kept."""
    if sound.problem not in ("", "too_short"):
        return f"{sound.problem}: {sound.detail}" if sound.detail else sound.problem
    if sound.seconds < SHORTEST_S:
        return f"shorter than {SHORTEST_S:g} s: {sound.seconds:.2f} s"
    return ""


def _split_of(sound: Sound) -> str:
    return "val" if int(sound.fingerprint[:8], 16) < VAL_SHARE * 2**32 else "train"


def _package_origin(folder: Path) -> dict[str, Any]:
    control = _parse_control((folder / "control").read_text(encoding="utf-8"))
    origin = {"package": control["Package"], "version": control.get("Version", "")}
    if (folder / "copyright").is_file():
        origin["licence"] = f"{folder.parent.name}/{folder.name}/copyright"
    return origin


def _parse_control(text: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in text.splitlines() if not line.startswith(" "))
    return {key: value for key, separator, value in lines if separator}


def _credits(path: Path) -> dict[str, Any]:
    """Return the file's tags about its makers, because licences require that they are named."""
    try:
        with path.open("rb") as file, open_container(file) as container:
            tags = dict(container.metadata)
            for stream in container.streams.audio:
                tags |= stream.metadata
    except DecodeError:  # data before the sound can hide it from FFmpeg
        return {}
    # Bytes that are not UTF-8 become surrogates, which JSON in UTF-8 cannot hold.
    texts = {
        key.lower(): value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for key, value in tags.items()
    }
    told = {key: texts[key].strip() for key in CREDIT_TAGS if texts.get(key, "").strip()}
    return {"tags": told} if told else {}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 2 if the music cannot be fetched or read."""
    parser = argparse.ArgumentParser(prog="python -m train.corpus.recorded", description=__doc__)
    parser.add_argument("sources", nargs="*", type=Path, metavar="FOLDER", help="folder of music, or a .deb file")
    parser.add_argument("--out", type=local_path, required=True, help="folder for packages/ and manifest.jsonl")
    parser.add_argument("--packages", nargs="+", default=[], metavar="NAME", help="Debian packages with music")
    parser.add_argument(
        "--debian", action="store_true", help=f"the {len(DEBIAN_PACKAGES)} packages of debian_music.txt: some 7 GB"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="number of processes (default: one for each core)"
    )
    args = parser.parse_args(arguments)
    try:
        return _run(args)
    except (RecordedError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    if not (args.sources or args.packages or args.debian):
        raise RecordedError("nothing to read; give folders of music, --packages NAME ... or --debian")
    folder: Path = args.out / "packages"
    packages = [unpack_package(deb, packages=folder) for deb in args.sources if deb.suffix == ".deb"]
    packages += [fetch_package(name, packages=folder) for name in args.packages]
    for name in DEBIAN_PACKAGES if args.debian else ():
        console.print(f"package {name}", soft_wrap=True)
        try:
            packages.append(fetch_package(name, packages=folder))
        except UnknownPackageError as exc:
            console.print(f"left out: {exc}", soft_wrap=True)
    if args.debian and not packages:
        raise RecordedError("apt-get knows none of the packages of debian_music.txt; run `apt-get update` first")
    folders = [source for source in args.sources if source.suffix != ".deb"]
    args.out.mkdir(parents=True, exist_ok=True)
    collected = collect(
        folders, packages=list(dict.fromkeys(packages)), out=args.out, workers=max(args.workers, 1), console=console
    )
    manifest = args.out / "manifest.jsonl"
    write_manifest(manifest, collected.rows)
    with (args.out / "left_out.jsonl").open("w", encoding="utf-8") as file:
        for path, reason in collected.left_out:
            file.write(json.dumps({"audio": os.path.relpath(path, args.out), "reason": reason}) + "\n")
    splits = Counter(row.split for row in collected.rows)
    hours = sum(row.extra["seconds"] for row in collected.rows) / 3600
    print(
        f"{len(collected.rows)} recordings, {hours:.1f} h, in {manifest}: {splits['train']} train, {splits['val']} val"
    )
    reasons = Counter(reason.split(":")[0].split(" as ")[0] for _, reason in collected.left_out)
    if reasons:
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        print(f"left out, see left_out.jsonl: {listed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
