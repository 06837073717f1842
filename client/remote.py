"""Files in a store: S3, Google Cloud Storage, Azure, a web server, whatever fsspec opens; needs the extra [remote].

Credentials, endpoints and regions are the store's own settings, from the environment and the files where its library
looks for them; nothing here asks for them or keeps them. Nothing of a file is kept on the disk, and of a long one only
the ranges are read that are asked for.
"""

import hashlib
import http.client
import io
import os
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import fsspec
import fsspec.config
from fsspec import AbstractFileSystem

from .errors import AudioError, StoreError
from .places import name_of

_BLOCK_BYTES = 1 << 16  # what is fetched at least: a request costs as much as a few hundred kB
_MOST_AHEAD = 64  # blocks: 4 MiB, where a file is read on and on
_KEPT_BLOCKS = 512  # 32 MiB: of most files all, which are read once for their tags and once for their sound
_REUSED_WITHIN_S = 10.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # between tries; what is underneath tries again by itself too, some of it
_MOST_DEEP = 32  # folders in each other: a web server may have the same page for all of them
_PAGE_KEYS = 1000  # of a listing, the most that S3 gives at once
_MOST_LETTERS = 200  # of what a store says, which may be a page of HTML

# What stores tell of an object: the first that is there changes with it. A digest of the content first, which says that
# two objects are the same; then what is new with each writing, and the times.
_DIGESTS = ("md5Hash", "content_md5", "Content-MD5")
_TAGS = ("ETag", "etag", "generation", "version_id", "VersionId", "mtime", "created")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated")
_S3_DIGEST = re.compile(r"[0-9a-f]{32}(-\d+)?")  # MD5, or of a large object the MD5 of its parts'

# By the names of exceptions, as the libraries that have them may not be installed.
_PASSING = frozenset(
    (
        *("ConnectionError", "HTTPClientError", "IncompleteReadError", "ResponseParserError"),  # botocore
        *("ClientConnectionError", "ClientPayloadError", "ServerTimeoutError"),  # aiohttp
        *("ServiceRequestError", "ServiceResponseError", "FSTimeoutError", "TransportError"),  # azure, fsspec, google
    )
)
_PASSING_CODES = frozenset(("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "InternalError"))
_NO_CREDENTIALS = frozenset(
    (
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
        *("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
        *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
    )
)
_BAD_CREDENTIALS = frozenset(
    (
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"),
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "RequestTimeTooSkewed"),
    )
)

_Result = TypeVar("_Result")


class StoredStatus(NamedTuple):
    """What tells whether an object has changed, in the form of `os.stat`'s answer; see `FileState`.

    Attributes:
        st_mtime_ns: no time, but a number made of what the store says of this version of it, 0 <= n < 2 ** 63.
        content_hash: the same for objects of which the store says that they have the same content.
    """

    st_size: int
    st_mtime_ns: int
    content_hash: str
    st_ctime_ns: int = 0
    st_ino: int = 0


class NotThere(AudioError):
    """There is no such object."""


def settings() -> dict[str, Any]:
    """What another process needs to open the same stores, beside the environment: fsspec's settings."""
    return dict(fsspec.config.conf)


def use_settings(given: dict[str, Any]) -> None:
    fsspec.config.conf.update(given)


def is_in_this_process(url: str) -> bool:
    """Whether no other process can see it."""
    return url.startswith("memory://")


# -- asking a store ------------------------------------------------------------------------------------

_stores: dict[tuple[str, int], AbstractFileSystem] = {}
_opening = threading.Lock()


def _at(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and how that names the object.

    Raises:
        StoreError: fsspec knows no such store, or a package is missing.
    """

    scheme, _, rest = url.partition("://")
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ValueError as exc:
        expected = "expected s3://, gs://, az:// or https://"
        raise StoreError(f"{url}: there is no store of the kind {scheme}://; {expected}") from exc
    except ImportError as exc:
        package = "pip install 'musicsearch[remote]'" if scheme in ("s3", "s3a") else str(exc)
        raise StoreError(f"{scheme}:// needs a package that is not here: {package}") from exc
    # A process that was forked may not use the connections of the other.
    host = rest.partition("/")[0] if "@" in rest.partition("/")[0] else ""
    key = (f"{scheme}://{host}", os.getpid())
    with _opening:
        if key not in _stores:
            with _translated(url):
                store = fsspec.filesystem(scheme, **kind._get_kwargs_from_urls(url))
            # What it remembers of listings grows with them, and hides what has changed since.
            store.dircache.use_listings_cache = False
            _stores[key] = store
        store = _stores[key]
    return store, _key(store, url)


def _key(store: AbstractFileSystem, url: str) -> str:
    key: str = store._strip_protocol(url)
    return key


def look(url: str) -> StoredStatus:
    """What a store says of an object.

    Raises:
        AudioError: there is none, it is empty, or the store does not tell.
    """
    store, key = _at(url)
    status = _status(_asked(url, lambda: store.info(key)), url)
    if status is None:
        raise AudioError(url, "is a folder, expected an audio file")
    if status.st_size == 0:
        raise AudioError(url, "empty file (0 bytes)")
    return status


def is_there(url: str) -> bool:
    """Raises StoreError where the store does not tell."""
    try:
        store, key = _at(url)
        _asked(url, lambda: store.info(key))
    except AudioError as exc:
        if isinstance(exc, NotThere) and not exc.is_stores:
            return False
        raise StoreError(f"{exc}: so nobody knows whether it is still there") from exc
    return True


def is_folder(url: str, *, named: str) -> bool:
    """Whether a URL stands for all that lies below.

    Args:
        named: as the user wrote it: one that ends with a slash does, and on the web no other.

    Raises:
        AudioError: there is nothing of that name.
    """
    store, key = _at(url)
    if named.endswith("/"):
        return True
    if url.startswith(("http://", "https://")):
        return False
    try:
        info = _asked(url, lambda: store.info(key))
    except NotThere as exc:
        if re.search(r"[*?[]", key):
            reason = "there is nothing of that name, and names are no patterns here: name the folder that holds them"
            raise NotThere(url, reason, may_pass=True) from exc
        raise
    return bool(info["type"] == "directory")


def entries(url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    """All objects below, with their URLs, as they are listed: never more than a page of S3 in memory, elsewhere than a
    folder. Without their status where a listing does not tell it, as on the web.

    Raises:
        AudioError: the store does not list them, possibly after the first.
    """
    store, key = _at(url)
    if url.startswith(("s3://", "s3a://")):
        yield from _pages(store, key, url)
    else:
        yield from _folders(store, key, url)


def _pages(store: AbstractFileSystem, key: str, url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    bucket, _, prefix = key.partition("/")
    bucket_url = url.removesuffix(f"/{prefix}") if prefix else url
    request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": _PAGE_KEYS}
    while True:
        # fsspec itself gives no page, only all of them.
        page = _asked(url, lambda: store.call_s3("list_objects_v2", **request))
        for info in page.get("Contents", ()):
            if not info["Key"].endswith("/"):  # what consoles put there for a folder
                there = f"{bucket_url}/{info['Key']}"
                yield there, _status({**info, "size": info["Size"], "type": "file"}, there)
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _folders(store: AbstractFileSystem, key: str, url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    is_web = url.startswith(("http://", "https://"))
    root = key.rstrip("/")
    todo = [f"{root}/" if is_web else key]
    while todo:
        folder = todo.pop()
        listed = _asked(url, lambda: store.ls(folder, detail=True))  # noqa: B023
        below = f"{folder.rstrip('/')}/"
        inner = []
        for info in sorted(listed, key=lambda info: info["name"]):
            name = info["name"]
            # Links of a page lead anywhere, and one that sorts it, or is signed, has a query.
            if not name.startswith(below) or name == below or (is_web and re.search("[?#]", name)):
                continue
            if info.get("islink") or name.count("/") - root.count("/") > _MOST_DEEP:
                continue
            if info["type"] == "directory":
                inner.append(name)
            else:
                there = url + name[len(root) :]
                yield there, _status(info, there) if info.get("size") is not None else None
        todo.extend(reversed(inner))


def _status(info: dict[str, Any], url: str) -> StoredStatus | None:
    """None of a folder."""
    if info["type"] == "directory":
        return None
    if info.get("size") is None:
        raise AudioError(url, "its server does not tell its size, without which no part of it can be read")
    size = int(info["size"])
    nested = info.get("content_settings") or {}  # Azure's
    known = {**(nested if isinstance(nested, dict) else {}), **info}
    digest = next((str(known[name]) for name in _DIGESTS if known.get(name)), "")
    tag = digest or next((str(known[name]) for name in (*_TAGS, *_TIMES) if known.get(name)), "")
    if not digest and url.startswith(("s3://", "s3a://")) and _S3_DIGEST.fullmatch(tag.strip('"')):
        digest = tag
    number = int.from_bytes(_hash(f"{tag} {size}")[:8], "big") >> 1
    # An ETag that is no digest, such as a time, may be that of another object too.
    content = _hash(f"{digest} {size}" if digest else f"{url} {tag} {size}").hex()
    return StoredStatus(size, number, f"store:{content[:48]}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


# -- what goes wrong -----------------------------------------------------------------------------------


def _asked(url: str, ask: Callable[[], _Result]) -> _Result:
    """What a store answers, asked again where that may help; its errors are ours."""
    for pause_s in (*_PAUSES_S, None):
        try:
            with _translated(url):
                return ask()
        except _Passing:
            if pause_s is None:
                raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # those that were refused together come back apart
    raise AssertionError


class _Passing(AudioError):
    """Another try may help."""


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (AudioError, StoreError):
        raise
    except Exception as exc:
        if (ours := _as_ours(exc, url)) is None:
            raise
        raise ours from exc


def _as_ours(error: Exception, url: str) -> AudioError | None:
    """What an error of a store means; None where it is none, but a mistake."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__
    answers = [_answer(one) for one in chain]
    code = next((code for code, _ in answers if code), "")
    status = next((status for _, status in answers if status), 0)
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    said = " ".join(str(error).split())[:_MOST_LETTERS] or type(error).__name__
    is_passing = (
        status >= 500
        or status in (408, 425, 429)
        or code in _PASSING_CODES
        or names & _PASSING
        or any(isinstance(one, TimeoutError | ConnectionError | http.client.HTTPException) for one in chain)
    )
    if is_passing and status != 501:
        return _Passing(url, f"its store does not answer ({said})", is_stores=True)
    if names & _NO_CREDENTIALS or code in _BAD_CREDENTIALS:
        return AudioError(url, f"its store takes no credentials of ours ({said}): renew them", is_stores=True)
    is_bucket = url.startswith(("s3://", "s3a://")) and url.count("/") == 2
    if code == "NoSuchBucket" or (is_bucket and isinstance(error, FileNotFoundError)):
        return NotThere(url, "there is no such bucket, or it is at another endpoint", is_stores=True)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return NotThere(url, "is not there", may_pass=True)
    if isinstance(error, PermissionError) or status in (401, 403):
        return AudioError(url, f"its store gives no access to it ({said})", may_pass=True)
    if status == 416 or code == "InvalidRange":
        return AudioError(url, "has changed while it was read", may_pass=True)
    if isinstance(error, OSError | EOFError) or status or code or _is_of_a_store(chain):
        return AudioError(url, f"its store refuses ({said})", is_stores=True)
    return None


def _answer(error: BaseException) -> tuple[str, int]:
    """The code and the HTTP status of what a server answered; "" and 0 where there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        code = str(response.get("Error", {}).get("Code", ""))
        return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = next((value for name in ("status", "status_code", "code") if (value := getattr(error, name, None))), 0)
    return "", int(found) if isinstance(found, int | str) and str(found).isdigit() else 0


def _is_of_a_store(chain: list[BaseException]) -> bool:
    packages = {type(one).__module__.partition(".")[0] for one in chain}
    return bool(packages & {"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure"})


# -- reading -------------------------------------------------------------------------------------------

_last = threading.local()


@contextmanager
def reading(url: str) -> Iterator["StoredFile"]:
    """An object as an open file. One that was read just now is taken up again, with what was fetched of it.

    Raises:
        AudioError: it cannot be read; also after the block, whatever that made of it.
    """
    file: StoredFile | None = getattr(_last, "file", None)
    if file is None or file.url != url or file.failure or time.monotonic() - file.read_at > _REUSED_WITHIN_S:
        file = _last.file = StoredFile(url)
    try:
        file.seek(0)
        yield file
    finally:
        # What FFmpeg and mutagen make of a file that cannot be read looks like the file's own fault.
        if file.failure is not None:
            raise file.failure


class StoredFile(io.RawIOBase):
    """An object that is read in ranges, which grow where it is read on and on, and stay small where it is sought.

    Attributes:
        name: of the file, without its folders.
        fetched_bytes: what was fetched of it so far.
        failure: what was raised, once it cannot be read any more.
        read_at: when it was last read.
    """

    def __init__(self, url: str) -> None:
        self.url, self.name = url, name_of(url)
        self.fetched_bytes = 0
        self.failure: AudioError | None = None
        self.read_at = time.monotonic()
        self._store, self._key = _at(url)
        self._is_web = url.startswith(("http://", "https://"))
        self._size = look(url).st_size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next, self._in_a_row = -1, 0  # the block after those that were fetched last; such fetches

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise OSError(22, "negative position")
        self._position = origin + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._position + size, self._size)
        parts = []
        while self._position < end:
            number, skipped = divmod(self._position, _BLOCK_BYTES)
            part = self._block(number)[skipped : skipped + end - self._position]
            parts.append(part)
            self._position += len(part)
        self.read_at = time.monotonic()
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._in_a_row = self._in_a_row + 1 if number == self._next else 0
            self._next = number + min(1 << self._in_a_row // 2, _MOST_AHEAD)
            content = self._fetch(number * _BLOCK_BYTES, min(self._next * _BLOCK_BYTES, self._size))
            for begin in range(0, len(content), _BLOCK_BYTES):
                self._blocks[number + begin // _BLOCK_BYTES] = content[begin : begin + _BLOCK_BYTES]
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, begin: int, end: int) -> bytes:
        if self.failure is not None:  # no other try for each of the many reads that may follow
            raise self.failure
        try:
            content = _asked(self.url, lambda: self._range(begin, end))
            if len(content) != end - begin:
                raise AudioError(self.url, "has changed while it was read", may_pass=True)
        except (AudioError, StoreError) as exc:
            self.failure = exc if isinstance(exc, AudioError) else AudioError(self.url, str(exc), is_stores=True)
            raise
        self.fetched_bytes += len(content)
        return content

    def _range(self, begin: int, end: int) -> bytes:
        if not self._is_web:
            content: bytes = self._store.cat_file(self._key, start=begin, end=end)
            return content
        # A web server may send all of a file for a part; this way of fsspec's notices.
        try:
            with self._store.open(self._key, "rb", block_size=_BLOCK_BYTES, cache_type="none", size=self._size) as file:
                file.seek(begin)
                content = file.read(end - begin)
                return content
        except ValueError as exc:
            raise AudioError(self.url, "its server sends no parts of files, only all of one", may_pass=True) from exc
