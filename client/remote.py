"""Files in a store that fsspec opens: S3, Google Cloud Storage, Azure, web servers. It needs the extra [remote].

Credentials, endpoints and regions are the store's own settings. Its library reads them from the environment and from
its own files. This module does not ask for them and does not save them. No file is saved on the disk. From a long file
only the requested ranges are read.
"""

import hashlib
import http.client
import io
import os
import random
import re
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import fsspec
import fsspec.config
from fsspec import AbstractFileSystem

from .errors import AudioError, StoreError
from .places import name_of

_BLOCK_BYTES = 1 << 16  # the smallest fetch, as a request costs as much as a few hundred kB
_MOST_AHEAD = 64  # blocks (4 MiB) that are fetched at once in a sequential read
_KEPT_BLOCKS = 512  # 32 MiB cache: it holds most files completely, which are read once for tags and once for sound
_REUSED_WITHIN_S = 10.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # between retries; some of the libraries underneath retry too
_MOST_DEEP = 32  # nested folders, because a web server may return the same page for each of them
_PAGE_KEYS = 1000  # the most keys that S3 returns in a page of a listing
_MOST_LETTERS = 200  # of a store's error message, which may be an HTML page

# Properties that stores have for an object. The first that exists is used to notice a change. Digests come first,
# because equal digests mean equal content. Then come values that are new with each write, and times.
_DIGESTS = ("md5Hash", "content_md5", "Content-MD5")
_TAGS = ("ETag", "etag", "generation", "version_id", "VersionId", "mtime", "created")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated")
_S3_DIGEST = re.compile(r"[0-9a-f]{32}(-\d+)?")  # MD5, or for a large object the MD5 of its parts' MD5s

# Exceptions by their names, because their libraries may not be installed.
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
        "DefaultCredentialsError",
    )
)
_ELSEWHERE = frozenset(("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"))
_BAD_CREDENTIALS = frozenset(  # and codes of S3
    (
        *("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
        *("RefreshError", "ClientAuthenticationError"),
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"),
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "RequestTimeTooSkewed"),
    )
)

_Result = TypeVar("_Result")


class StoredStatus(NamedTuple):
    """Tells whether an object has changed, in the form of `os.stat`'s result. See `FileState`.

    Attributes:
        st_mtime_ns: not a time. A number made from the store's properties of this version of the object, 0 <= n < 2 **
            63.
        content_hash: equal for objects that have the same content according to the store.
    """

    st_size: int
    st_mtime_ns: int
    content_hash: str
    st_ctime_ns: int = 0
    st_ino: int = 0


class NotThere(AudioError):
    """There is no such object."""


def settings() -> dict[str, Any]:
    """fsspec's settings. With the environment, another process needs them to open the same stores."""
    return dict(fsspec.config.conf)


def use_settings(given: dict[str, Any]) -> None:
    fsspec.config.conf.update(given)


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def is_in_this_process(url: str) -> bool:
    """Whether only this process can see the object."""
    return url.startswith("memory://")


# -- asking a store ------------------------------------------------------------------------------------

_stores: dict[tuple[str, int], AbstractFileSystem] = {}
_opening = threading.Lock()


def _at(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and the store's own name for the object.

    Raises:
        StoreError: fsspec does not know the store, or a package is missing.
    """
    scheme, _, rest = url.partition("://")
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ValueError as exc:
        expected = "expected s3://, gs://, az:// or https://"
        raise StoreError(f"{url}: there is no store of the kind {scheme}://; {expected}") from exc
    except ImportError as exc:
        package = "pip install 'musicsearch[remote]'" if scheme in ("s3", "s3a") else str(exc)
        raise StoreError(f"{scheme}:// needs a package that is not installed: {package}") from exc
    # A forked process must not use the connections of its parent.
    host = rest.partition("/")[0] if "@" in rest.partition("/")[0] else ""
    key = (f"{scheme}://{host}", os.getpid())
    with _opening:
        if key not in _stores:
            with _translated(url):
                store = fsspec.filesystem(scheme, **kind._get_kwargs_from_urls(url))
            # The listings cache grows without limit, and hides later changes.
            store.dircache.use_listings_cache = False
            _stores[key] = store
        store = _stores[key]
    return store, _key(store, url)


def _key(store: AbstractFileSystem, url: str) -> str:
    key: str = store._strip_protocol(url)
    return key


def look(url: str) -> StoredStatus:
    """Ask a store for the status of an object.

    Raises:
        AudioError: there is no such object, it is empty, or the store does not tell.
    """
    store, key = _at(url)
    status = _status(_asked(url, lambda: store.info(key)), url)
    if status is None:
        raise AudioError(url, "is a folder, expected an audio file")
    if status.st_size == 0:
        raise AudioError(url, "empty file (0 bytes)")
    return status


def is_there(url: str) -> bool:
    """Whether the object exists.

    Raises:
        StoreError: the store does not tell.
    """
    try:
        store, key = _at(url)
        _asked(url, lambda: store.info(key))
    except AudioError as exc:
        if isinstance(exc, NotThere) and not exc.is_stores:
            return False
        raise StoreError(f"{exc}, so it is not known whether the file still exists") from exc
    return True


def is_folder(url: str, *, named: str) -> bool:
    """Whether a URL stands for everything below it.

    Args:
        url: the URL.
        named: the URL as the user wrote it. With a slash at its end it is a folder. On the web, only the URL of a host
            is one without it.

    Raises:
        AudioError: nothing has this name.
    """
    store, key = _at(url)
    if named.endswith("/"):
        return True
    if _is_web(url):
        return url.count("/") == 2
    try:
        info = _asked(url, lambda: store.info(key))
    except NotThere as exc:
        if re.search(r"[*?[]", key):
            reason = "no file or folder has this name, and patterns such as * are not supported: name the folder"
            raise NotThere(url, reason, may_pass=True) from exc
        raise
    return bool(info["type"] == "directory")


def entries(url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    """Yield all objects below a URL while they are listed, with their URLs.

    Only a page of S3 is held in memory, or a folder of another store. The status is None if a listing does not have it,
    as on the web.

    Raises:
        AudioError: the store does not list them. This may happen after the first objects.
    """
    store, key = _at(url)
    if _is_s3(url):
        yield from _pages(store, key, url)
    else:
        yield from _folders(store, key, url)


def _pages(store: AbstractFileSystem, key: str, url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    bucket, _, prefix = key.partition("/")
    bucket_url = url.removesuffix(f"/{prefix}") if prefix else url
    request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": _PAGE_KEYS}
    while True:
        # fsspec itself only returns all pages together.
        page = _asked(url, lambda: store.call_s3("list_objects_v2", **request))
        for info in page.get("Contents", ()):
            if not info["Key"].endswith("/"):  # consoles create such keys for folders
                there = f"{bucket_url}/{info['Key']}"
                yield there, _status({**info, "size": info["Size"], "type": "file"}, there)
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _folders(store: AbstractFileSystem, key: str, url: str) -> Iterator[tuple[str, StoredStatus | None]]:
    is_web = _is_web(url)
    root = key.rstrip("/")
    todo = [f"{root}/" if is_web else key]
    while todo:
        folder = todo.pop()
        listed = _asked(url, lambda: store.ls(folder, detail=True))  # noqa: B023
        below = f"{folder.rstrip('/')}/"
        inner = []
        for info in sorted(listed, key=lambda info: info["name"]):
            name = info["name"]
            # Links on a page may lead anywhere. Links that sort the page, and signed ones, have a query string.
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
    """The status of an object. None for a folder."""
    if info["type"] == "directory":
        return None
    if info.get("size") is None:
        raise AudioError(url, "its server does not report the file's size, which is needed to read parts of the file")
    size = int(info["size"])
    known = {**dict(info.get("content_settings") or {}), **info}  # only Azure has these settings
    digest = next((_text(known[name]) for name in _DIGESTS if known.get(name)), "")
    tag = digest or next((str(known[name]) for name in (*_TAGS, *_TIMES) if known.get(name)), "")
    if not digest and _is_s3(url) and _S3_DIGEST.fullmatch(tag.strip('"')):
        digest = tag
    number = int.from_bytes(_hash(f"{tag} {size}")[:8], "big") >> 1
    # An ETag that is not a digest, such as a time, may be the same for another object.
    content = _hash(f"{digest} {size}" if digest else f"{url} {tag} {size}").hex()
    return StoredStatus(size, number, f"store:{content[:48]}")


def _text(digest: object) -> str:
    return bytes(digest).hex() if isinstance(digest, bytes | bytearray) else str(digest)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


# -- what goes wrong -----------------------------------------------------------------------------------


def _asked(url: str, ask: Callable[[], _Result]) -> _Result:
    """Ask a store, with retries if they may help. Its errors become ours."""
    for pause_s in (*_PAUSES_S, None):
        try:
            with _translated(url):
                return ask()
        except _Passing:
            if pause_s is None:
                raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # jitter, so that refused callers do not retry together
    raise AssertionError


class _Passing(AudioError):
    """A retry may help."""


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
    """Our error for an error of a store. None for an error in our code."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__
    answers = [_answer(one) for one in chain]
    region = next((region for one in chain if (region := _region(one))), "")
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
    if names & _NO_CREDENTIALS:
        advice = "set them in the environment or where the store's own tools look for them (docs/remote.md)"
        return AudioError(url, f"there are no credentials for its store ({said}): {advice}", is_stores=True)
    if names & _BAD_CREDENTIALS or code in _BAD_CREDENTIALS:
        return AudioError(url, f"its store rejects the credentials ({said}): renew them", is_stores=True)
    if _is_s3(url) and (status in (301, 307) or code in _ELSEWHERE):
        where = f"in the region {region}" if region else f"in another region or at another endpoint ({said})"
        return AudioError(url, f"its bucket is {where}: set AWS_DEFAULT_REGION or AWS_ENDPOINT_URL", is_stores=True)
    if code == "400":  # the answer to HEAD, which has no code of S3
        advice = "check the region, and whether the credentials have expired"
        return AudioError(url, f"its store refuses ({said}): {advice}", is_stores=True)
    is_bucket = _is_s3(url) and url.count("/") == 2
    if code == "NoSuchBucket" or (is_bucket and isinstance(error, FileNotFoundError)):
        return NotThere(url, "there is no such bucket, or it is at another endpoint", is_stores=True)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return NotThere(url, "is not there", may_pass=True)
    if isinstance(error, PermissionError) or status in (401, 403):
        return AudioError(url, f"its store denies access to it ({said})", may_pass=True)
    if status == 416 or code == "InvalidRange":
        return AudioError(url, "has changed while it was read", may_pass=True)
    if isinstance(error, OSError | EOFError) or status or code:
        return AudioError(url, f"its store refuses ({said})", is_stores=True)
    if _is_of_a_store(chain):
        advice = "check its address, and the endpoint, region and other settings of the store"
        return AudioError(url, f"its store cannot be asked ({said}): {advice}", is_stores=True)
    return None


def _answer(error: BaseException) -> tuple[str, int]:
    """The error code and the HTTP status of a server's answer. "" and 0 if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # a botocore error
        code = str(response.get("Error", {}).get("Code", ""))
        return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = next((value for name in ("status", "status_code", "code") if (value := getattr(error, name, None))), 0)
    return "", int(found) if isinstance(found, int | str) and str(found).isdigit() else 0


def _region(error: BaseException) -> str:
    """The region in which a bucket is, if S3 tells it."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region", ""))


def _is_of_a_store(chain: list[BaseException]) -> bool:
    """Whether a store's library has raised one of these errors, or has its type."""
    modules = {type(one).__module__ for one in chain}
    for one in chain:
        frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(one.__traceback__)]
        modules.update(frames[-1:])
    packages = {module.partition(".")[0] for module in modules}
    return bool(packages & {"botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "adlfs", "google", "azure"})


# -- reading -------------------------------------------------------------------------------------------

_last = threading.local()


@contextmanager
def reading(url: str) -> Iterator["StoredFile"]:
    """Open an object as a file. A file that was read a moment ago is reused, with the blocks that were fetched.

    Raises:
        AudioError: it cannot be read. It is also raised at the end of the block if the block hid it.
    """
    file: StoredFile | None = getattr(_last, "file", None)
    if file is None or file.url != url or file.failure or time.monotonic() - file.read_at > _REUSED_WITHIN_S:
        file = _last.file = StoredFile(url)
    try:
        file.seek(0)
        yield file
    finally:
        # If a file cannot be read, the errors of FFmpeg and mutagen look as if the file were damaged.
        if file.failure is not None:
            raise file.failure


class StoredFile(io.RawIOBase):
    """An object that is read in ranges. They grow while it is read sequentially, and stay small after a seek.

    Attributes:
        name: the file's name, without its folders.
        fetched_bytes: how much was fetched so far.
        failure: the error after which it cannot be read any more.
        read_at: when it was last read.
    """

    def __init__(self, url: str) -> None:
        self.url, self.name = url, name_of(url)
        self.fetched_bytes = 0
        self.failure: AudioError | None = None
        self.read_at = time.monotonic()
        self._store, self._key = _at(url)
        self._is_web = _is_web(url)
        self._size = look(url).st_size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next, self._in_a_row = -1, 0  # the block after the last fetch; how many fetches were sequential

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
        """Read as any file, but after a failure nothing more.

        Nothing is raised here: PyAV prints each error of a file that FFmpeg did not ask for, with its traceback.
        `reading` raises `failure`.
        """
        with suppress(AudioError, StoreError):
            return self._read(size)
        return b""

    def _read(self, size: int) -> bytes:
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
        if self.failure is not None:  # do not retry for each of the many reads that may follow
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
        # A web server may send the whole file instead of a range. Only `open` notices that.
        try:
            with self._store.open(self._key, "rb", block_size=_BLOCK_BYTES, cache_type="none", size=self._size) as file:
                file.seek(begin)
                return bytes(file.read(end - begin))
        except ValueError as exc:
            raise AudioError(self.url, "its server sends only whole files, no parts", may_pass=True) from exc
