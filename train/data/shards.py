"""Training data as WebDataset shards: tar files of recordings, each with a JSON file about it.

A shard has an index: `000.jsonl` belongs to `000.tar`. The index has a line for each row with the place of its
recording in the tar and the recording's length. Without it the length must be measured before the first crop. So a run
reads only the bytes that it needs, in the same order as from the manifest, whatever the sizes of the shards. From a
store it requests only these bytes. A tar without an index, for example from another program, is read once completely to
make the index in memory.

The format is WebDataset's: the files of one row follow each other and have the same name up to the first dot.
"""

import hashlib
import io
import itertools
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from audio import DecodeError, Extent, NotSeekable, Recording
from train.data.manifest import ManifestError, Row, make_row
from train.data.member import Member, MemberFile
from train.data.store import StoreError, is_url, read_file, size_of

SUFFIX, INDEX_SUFFIX = ".tar", ".jsonl"
INDICES_AT_ONCE = 16  # parallel requests; a store answers many as fast as one
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Shard(NamedTuple):
    """A shard's rows, and a digest of the rows and their places."""

    rows: list[Row]
    sha256: bytes


def expand_braces(pattern: str) -> list[str]:
    """List the names that a pattern stands for: `{000..063}` is a range, `{a,b}` a choice; several are allowed.

    Raises:
        ManifestError: a range or a choice is empty.

    >>> expand_braces("{a,b}/{08..10}.tar")
    ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar', 'b/09.tar', 'b/10.tar']
    """
    parts = _BRACES.split(pattern)  # alternates between text and the content of braces
    choices = [_choices(part, pattern) if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def read_shards(pattern: str) -> tuple[list[Row], str]:
    """Read the rows of all shards that a pattern names, in their order, and a digest of them, in hex.

    The digest does not depend on the location of the shards.

    Raises:
        ManifestError: a shard is missing, is named twice, was cut short, holds no rows or two with the same key, or its
            index is damaged.
    """
    places = expand_braces(pattern)
    if twice := [place for place, times in Counter(places).items() if times > 1]:
        raise ManifestError(f"{pattern} names {twice[0]} {places.count(twice[0])} times; name each shard once")
    with ThreadPoolExecutor(INDICES_AT_ONCE) as pool:
        sizes = list(pool.map(_size, places))
        missing = [place for place, size in zip(places, sizes, strict=True) if size is _MISSING]
        if missing:
            braces = "name them with braces, {000..063}, as * names none"
            instead = braces if "*" in pattern else "name only existing shards"
            raise ManifestError(
                f"{len(missing)} of the {len(places)} shards of {pattern} are missing, the first is "
                f"{missing[0]}; add the missing shards, or {instead}"
            )
        shards = list(pool.map(_read, places, sizes))
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(shard.sha256)
    return [row for shard in shards for row in shard.rows], digest.hexdigest()


def index_path(place: str) -> str:
    """Return the path of a shard's index."""
    return place.removesuffix(SUFFIX) + INDEX_SUFFIX


def make_index(file: BinaryIO, *, shard: str, measured: bool = False) -> bytes:
    """Make the index of a shard from its headers and JSON files: lines of `member`, `offset`, `size` and `row`.

    Args:
        file: the shard.
        shard: the name of the file, for error messages.
        measured: whether recordings are also read, to add their `extent`.

    Raises:
        ManifestError: see `read_shards`.
    """
    lines = []
    for key, files in _samples(file, shard=shard):
        jsons = [info for info in files if info.name.endswith(".json")]
        others = [info for info in files if info not in jsons]
        if len(jsons) != 1 or len(others) != 1:
            names = ", ".join(info.name for info in files)
            raise ManifestError(
                f"{shard}: key {key!r} has the files {names}; expected a recording and its .json, as "
                "`python -m train.data pack` writes them"
            )
        (info,) = others
        values = _values(_content(file, jsons[0]), where=f"{shard}, {jsons[0].name}") | {"audio": info.name}
        line = {"member": info.name, "offset": info.offset_data, "size": info.size, "row": values}
        if measured and (extent := _measure(file, info)):
            line["extent"] = extent
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    if not lines:
        raise ManifestError(f"{shard} holds no row; expected recordings and a .json for each of them")
    return "".join(lines).encode()


_MISSING = object()


def _size(place: str) -> Any:
    """Return the size in bytes, None if a store does not tell it, or `_MISSING`."""
    try:
        return size_of(place) if is_url(place) else Path(place).stat().st_size
    except FileNotFoundError:
        return _MISSING
    except OSError as exc:
        raise ManifestError(_not_read(place, exc)) from exc


def _read(place: str, size: int | None) -> Shard:
    index = index_path(place)
    try:
        try:
            content = read_file(index) if is_url(index) else Path(index).read_bytes()
        except FileNotFoundError:
            content, index = _index_of(place), place
    except OSError as exc:
        raise ManifestError(_not_read(place, exc)) from exc
    rows, end, digest = [], 0, hashlib.sha256()
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"{index}, line {number}"
        values = _values(line, where=where)
        row, extent = values.get("row"), values.pop("extent", None)
        if not (isinstance(row, dict) and isinstance(row.get("audio"), str)):
            raise ManifestError(f"{where}: no 'row' with 'audio'; delete this index, then the shard itself is read")
        try:
            member = Member(place, str(values["member"]), int(values["offset"]), int(values["size"]))
            member = member._replace(extent=Extent(*map(int, extent)) if extent else None)
        except (KeyError, TypeError, ValueError) as exc:
            raise ManifestError(
                f"{where}: expected 'member', 'offset' and 'size', and a valid 'extent' if any; delete this index, "
                "then the shard itself is read"
            ) from exc
        rows.append(make_row(row, audio=member, where=where))
        end = max(end, member.offset + member.size)
        digest.update(json.dumps(values).encode())
    if size is not None and size < end:
        raise ManifestError(
            f"{place} was cut short: it has {size:,} bytes, its last recording ends at {end:,}; copy it again"
        )
    return Shard(rows, digest.digest())


def _not_read(place: str, problem: OSError) -> str:
    if isinstance(problem, StoreError):  # it names the file
        return f"{problem}; check the address, and the store's credentials, region and endpoint"
    return f"{place} cannot be read ({problem.strerror or problem}); check the file and its permissions"


def _index_of(place: str) -> bytes:
    if is_url(place):
        return make_index(io.BytesIO(read_file(place)), shard=place)
    with open(place, "rb") as file:
        return make_index(file, shard=place)


def _measure(file: BinaryIO, info: tarfile.TarInfo) -> Extent | None:
    """Measure as a run would; None if only decoding the whole recording can tell, or if it does not decode."""
    member = MemberFile(file, info.offset_data, info.offset_data + info.size, name=info.name)
    try:
        return Recording(member).measure()
    except (DecodeError, NotSeekable):
        return None


def _samples(file: BinaryIO, *, shard: str) -> Iterator[tuple[str, list[tarfile.TarInfo]]]:
    """Yield each key and its files, which follow each other in the tar."""
    keys: set[str] = set()
    for key, files in itertools.groupby(_files(file, shard=shard), key=_key):
        sample = list(files)
        names = [info.name for info in sample]
        if key in keys or len(set(names)) < len(names):
            raise ManifestError(f"{shard} has two rows of key {key!r}; expected one of each: pack it again")
        keys.add(key)
        yield key, sample


def _key(info: tarfile.TarInfo) -> str:
    """Return a file's name up to the first dot after its folders."""
    folder, slash, name = info.name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _files(file: BinaryIO, *, shard: str) -> Iterator[tarfile.TarInfo]:
    foreign = f"{shard} is not a tar; name one that `python -m train.data pack` wrote"
    cut = f"{shard} was cut short or is damaged: the end of the tar is missing; copy or pack it again"
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            end = 0
            for info in tar:
                end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                tar.members = []  # type: ignore[attr-defined]  # not in typeshed; they would all be kept
                if info.isfile():
                    yield info
    except tarfile.ReadError as exc:
        raise ManifestError(cut if str(exc) == "unexpected end of data" else foreign) from exc
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ManifestError(cut)


def _content(file: BinaryIO, info: tarfile.TarInfo) -> bytes:
    file.seek(info.offset_data)
    return file.read(info.size)


def _values(content: bytes, *, where: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except ValueError as exc:  # also raised if the content is not UTF-8
        raise ManifestError(f"{where}: not JSON ({exc}); expected an object") from exc
    if not isinstance(values, dict):
        raise ManifestError(f"{where}: not a JSON object; expected one")
    return values


def _choices(text: str, pattern: str) -> list[str]:
    if found := _RANGE.fullmatch(text):
        first, last = found.groups()
        chosen = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    else:
        chosen = text.split(",") if text else []
    if not chosen:
        raise ManifestError(f"{{{text}}} in {pattern} is empty; expected a range such as {{000..063}}, or {{a,b}}")
    return chosen
