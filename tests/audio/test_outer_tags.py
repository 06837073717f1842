"""Where the sound begins and ends between tags, on tags made by hand."""

import io
from itertools import permutations

import pytest

from audio.outer_tags import find_sound

SOUND = b"\xff\xfb" + bytes(998)


def digits(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(size: int, *, has_footer: bool = False) -> bytes:
    footer = b"3DI\x04\x00\x10" + digits(size) if has_footer else b""
    return b"ID3\x04\x00" + (b"\x10" if has_footer else b"\x80") + digits(size) + b"\xff" * size + footer


def ape(size: int, *, has_header: bool = True) -> bytes:
    """An APEv2 tag whose items have so many bytes; its size counts the footer too."""

    def edge(flags: int) -> bytes:
        return (
            b"APETAGEX"
            + (2_000).to_bytes(4, "little")
            + (size + 32).to_bytes(4, "little")
            + bytes([1, 0, 0, 0, 0, 0, 0, flags])
            + bytes(8)
        )

    return (edge(0xA0) if has_header else b"") + b"\xff" * size + edge(0x80 if has_header else 0)


def lyrics(size: int) -> bytes:
    return b"LYRICSBEGIN".ljust(size, b"\xff") + f"{size:06}".encode() + b"LYRICS200"


AFTER = {
    "ID3v1": b"TAG" + b"\xff" * 125,
    "APEv2": ape(300),
    "APEv2 without header": ape(70_000, has_header=False),
    "Lyrics3": lyrics(123_456),
    "ID3v2.4": id3(20_000, has_footer=True),
}


@pytest.mark.parametrize("before", [0, 1, 127, 128, 300, 20_000, 3_000_000])
@pytest.mark.parametrize("has_footer", [False, True])
def test_tags_before_the_sound_are_passed_over(before: int, has_footer: bool) -> None:
    tag = id3(before, has_footer=has_footer)
    assert find_sound(io.BytesIO(tag + SOUND)) == (len(tag), len(tag) + 1_000)
    assert find_sound(io.BytesIO(id3(7) + tag + SOUND)) == (17 + len(tag), 17 + len(tag) + 1_000)


@pytest.mark.parametrize("names", [*permutations(AFTER, 2), *zip(AFTER)], ids="+".join)
def test_tags_after_the_sound_are_passed_over_in_any_order(names: tuple[str, ...]) -> None:
    tags = b"".join(AFTER[name] for name in names)
    assert find_sound(io.BytesIO(id3(9) + SOUND + tags)) == (19, 1_019)


def test_the_extension_of_id3v1_comes_before_it() -> None:
    extension = b"TAG+" + b"\xff" * 223
    assert find_sound(io.BytesIO(SOUND + extension + AFTER["ID3v1"])) == (0, 1_000)
    assert find_sound(io.BytesIO(SOUND + extension)) == (0, 1_000)


@pytest.mark.parametrize(
    "end",
    [
        b"TAG" + b"\xff" * 124,
        b"TAG" + b"\xff" * 126,
        b"APETAGEX" + bytes(23),
        b"APETAGEX" + bytes(4) + (5_000).to_bytes(4, "little") + bytes(16),  # longer than the file
        b"12345xLYRICS200",
        b"999999LYRICS200",  # longer than the file
        b"3DI\x04\x00\x10" + digits(30_000),  # longer than the file
        b"3DI\x04\x00\x10" + digits(7)[:3],
    ],
    ids=range(8),
)
def test_what_only_looks_like_a_tag_is_sound(end: bytes) -> None:
    assert find_sound(io.BytesIO(SOUND + end)) == (0, 1_000 + len(end))


@pytest.mark.parametrize("content", [b"", b"ID3", id3(300)[:9], b"TAG", b"TAG+", b"LYRICS200", b"3DI", b"APETAGEX"])
def test_a_file_of_a_few_bytes_is_sound(content: bytes) -> None:
    assert find_sound(io.BytesIO(content)) == (0, len(content))


def test_a_file_of_tags_alone_is_left_to_ffmpeg() -> None:
    for content in (id3(300), AFTER["ID3v1"], id3(300) + AFTER["ID3v1"], id3(300)[:200]):
        assert find_sound(io.BytesIO(content)) == (0, len(content))
