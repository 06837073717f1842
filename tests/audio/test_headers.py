"""What is read from the bytes of headers, on headers made by hand."""

import io

import pytest

from audio.files import Part
from audio.headers import announced_share, contradicts_header, has_variable_rate
from audio.ogg import find_links, is_chain

SYNC = b"\xff\xf8\xc9\x08"  # of a FLAC frame; its number follows


def flac(*, number: bytes, blocks: tuple[int, ...] = (34, 300)) -> io.BytesIO:
    """The begin of a FLAC file with metadata blocks of these sizes, and the number of its first frame."""
    metadata = b"".join(
        bytes([0x80 * (place == len(blocks) - 1) + (place > 0)]) + size.to_bytes(3, "big") + b"\xff" * size
        for place, size in enumerate(blocks)
    )
    return io.BytesIO(b"fLaC" + metadata + SYNC + number)


def mp3(*, name: bytes = b"Xing", flags: int = 3, announced: int = 1_000, size: int = 2_000) -> io.BytesIO:
    """An MP3 file of `size` bytes, whose first frame announces 100 frames, if the flags say so, and bytes."""
    frames = (100).to_bytes(4, "big") if flags & 1 else b""
    head = b"\xff\xfb\x90\x00" + bytes(32) + name + flags.to_bytes(4, "big") + frames + announced.to_bytes(4, "big")
    return io.BytesIO(head.ljust(size, b"\0"))


@pytest.mark.parametrize(
    ("number", "blocks", "is_cut"),
    [
        (b"\0", (34, 300), False),
        (b"\x01", (34, 300), True),
        (b"\xc4\x80", (34,), True),
        (b"\0", (34, 70_000, 12), False),
        (b"\x07", (34, 70_000, 12), True),
        (b"", (34,), False),  # the file ends before the number
    ],
)
def test_a_flac_file_tells_that_its_beginning_is_gone(number: bytes, blocks: tuple[int, ...], is_cut: bool) -> None:
    assert contradicts_header(flac(number=number, blocks=blocks), format_name="flac") is is_cut


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OggS" + flac(number=b"\x07").getvalue()[4:],
        flac(number=b"\x07").getvalue()[:20],  # within a block
        flac(number=b"\x07").getvalue()[: 4 + 4 + 34 + 2],  # within a block's header
        flac(number=b"\x07").getvalue().replace(SYNC, b"\0\0\0\0"),  # no frame follows
    ],
    ids=["empty", "another format", "cut", "cut header", "no frame"],
)
def test_what_is_no_flac_frame_tells_nothing(content: bytes) -> None:
    assert not contradicts_header(io.BytesIO(content), format_name="flac")


@pytest.mark.parametrize("flags", [2, 3])
@pytest.mark.parametrize("name", [b"Xing", b"Info"])
def test_an_mp3_file_whose_bytes_are_all_there_has_a_wrong_number_of_frames(name: bytes, flags: int) -> None:
    file = mp3(name=name, flags=flags, announced=2_000)
    assert contradicts_header(file, format_name="mp3")  # the whole file
    assert contradicts_header(file, format_name="mp3", payload=1_960)  # 98 %
    assert not contradicts_header(file, format_name="mp3", payload=1_959)
    assert not contradicts_header(mp3(name=name, flags=flags, announced=2_041), format_name="mp3")


def test_without_announced_bytes_nothing_is_contradicted() -> None:
    assert not contradicts_header(mp3(flags=1, announced=0), format_name="mp3")
    assert not contradicts_header(io.BytesIO(b"\xff\xfb\x90\x00" + bytes(500)), format_name="mp3")
    assert not contradicts_header(mp3(announced=10), format_name="wav")


def test_a_xing_header_announces_a_variable_rate() -> None:
    assert has_variable_rate(mp3())
    assert not has_variable_rate(mp3(name=b"Info"))
    assert not has_variable_rate(io.BytesIO(b"\0" + mp3().getvalue()))
    late = io.BytesIO(b"\xff" + bytes(251) + b"Xing")
    assert has_variable_rate(late)
    assert not has_variable_rate(io.BytesIO(b"\xff" + bytes(252) + b"Xing"))


@pytest.mark.parametrize(
    ("announced", "share"),
    [(92, 1.0), (192, 2.0), (42, 1.0), (0xFFFFFFFF, 1.0), (0xFFFF0000 - 8, 1.0), (0xFFFF0000 - 9, 0xFFFEFFFF / 100)],
)
def test_the_share_that_a_riff_header_announces(announced: int, share: float) -> None:
    file = io.BytesIO(b"RIFF" + announced.to_bytes(4, "little") + bytes(92))
    assert announced_share(file) == share
    assert announced_share(io.BytesIO()) == 1.0


def page(*, serial: int, begins: bool = False, number: int = 0, time: int = 0, content: bytes = b"x" * 300) -> bytes:
    sizes = bytes([255] * (len(content) // 255) + [len(content) % 255])
    flags = bytes([0, 2 * begins])
    place = time.to_bytes(8, "little") + serial.to_bytes(4, "little") + number.to_bytes(4, "little") + bytes(4)
    return b"OggS" + flags + place + bytes([len(sizes)]) + sizes + content


def link(serial: int, *, pages: int = 3) -> bytes:
    rest = [page(serial=serial, number=number, time=number * 960) for number in range(1, pages)]
    return b"".join([page(serial=serial, begins=True), *rest])


def test_each_link_of_a_chained_ogg_file_is_found() -> None:
    first, second = link(1), link(2)
    assert find_links(io.BytesIO(first)) == [0]
    assert find_links(io.BytesIO(first + second)) == [0, len(first)]
    assert find_links(io.BytesIO(b"junk" + first + b"some junk" + second)) == [4, 4 + len(first) + 9]
    assert find_links(io.BytesIO(bytes(200_000) + first)) == [200_000]
    assert find_links(io.BytesIO(b"no page at all")) == []
    assert find_links(io.BytesIO(first + second[:20])) == [0]


def test_streams_side_by_side_are_one_link() -> None:
    both = page(serial=1, begins=True) + page(serial=2, begins=True) + page(serial=1, number=1, time=960)
    assert find_links(io.BytesIO(both)) == [0]


@pytest.mark.parametrize("flipped", [{"number": 5}, {"time": 960}, {"time": 960 << 40}, {"number": 1 << 24}])
def test_a_flipped_bit_makes_no_link(flipped: dict[str, int]) -> None:
    content = link(1) + page(serial=1, begins=True, **flipped) + page(serial=1, number=6, time=1920)
    assert find_links(io.BytesIO(content)) == [0]


def test_a_file_may_be_a_chain_if_its_ends_are_of_different_streams() -> None:
    assert not is_chain(io.BytesIO(link(1)))
    assert is_chain(io.BytesIO(link(1) + link(2)))
    assert not is_chain(io.BytesIO(link(1, pages=1_000)))
    assert is_chain(io.BytesIO(link(1, pages=1_000) + link(2)))
    assert is_chain(io.BytesIO(link(1) + bytes(200_000)))  # the last page is not in sight
    assert not is_chain(io.BytesIO(b"fLaC" + link(1) + link(2)))
    assert not is_chain(io.BytesIO())


def test_a_part_of_a_file_is_a_file() -> None:
    part = Part(io.BytesIO(b"0123456789"), 2, 6)
    assert (part.readable(), part.seekable(), part.tell()) == (True, True, 0)
    assert (part.read(3), part.tell(), part.read(), part.read(), part.read(5)) == (b"234", 3, b"5", b"", b"")
    assert (part.seek(1), part.read(2)) == (1, b"34")
    assert (part.seek(-2, io.SEEK_CUR), part.read(1)) == (1, b"3")
    assert (part.seek(-1, io.SEEK_END), part.read()) == (3, b"5")
    assert (part.seek(-9), part.read(1)) == (0, b"2")
    assert (part.seek(9), part.read(1)) == (9, b"")
    assert Part(io.BytesIO(b"0123456789"), 7, None).read() == b"789"
