"""Words, notes and their times out of files, by a transcriber whose right answers are known."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client import AudioError, EncoderError, MusicSearch, QueryError, ServerMismatch
from client.cli import main
from client.encoders import open_encoder
from client.lyrics.transcriber import LocalTranscriber, open_transcriber
from client.lyrics.transcript import Note, Transcript, Word
from singing.alphabet import BLANK, CLASSES, encode
from singing.hearing import cut_at_rests, cut_windows
from tests.client.audio_files import write_audio
from tests.client.fake_triton import CONFIGS, INFERS, configs_of
from tests.spelling_transcriber import FRAME_S, FRAMES, RATE_HZ, STEP, build_spelling_transcriber, spell

# 16 frames are a window, and the next begins 12 later: words lie on both sides of, and across, each border.
SONG = "___the fer_ry le_av_es the har_bour la_te_ and al_l the gul_ls______________ sing on___"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_spelling_transcriber(tmp_path_factory.mktemp("spelling") / "models")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audio(tmp_path_factory.mktemp("songs") / "ferry.wav", spell(SONG), sample_rate_hz=RATE_HZ)


@pytest.fixture
def library(tiny_repository: Path, tmp_path: Path) -> MusicSearch:
    with MusicSearch(tmp_path / "library", encoder=tiny_repository) as ms:
        yield ms


def words_of(spelling: str) -> list[Word]:
    """The words of a spelling and the frames that spell them, in seconds."""
    words, place = [], 0
    for part in spelling.split(" "):
        if text := part.replace("_", ""):
            first = place + len(part) - len(part.lstrip("_"))
            last = place + len(part.rstrip("_"))
            words.append(Word(first * FRAME_S, last * FRAME_S, text))
        place += len(part) + 1
    return words


@pytest.mark.parametrize("batch_size", [1, 3])
def test_words_have_their_times_whatever_window_they_are_in(
    library: MusicSearch, repository: Path, song: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
):
    monkeypatch.setattr(LocalTranscriber, "batch_size", batch_size)
    transcript = library.transcribe(song, model=repository)
    expected = words_of(SONG)
    assert len(SONG) > 5 * FRAMES
    assert transcript.text == "the ferry leaves the harbour late and all the gulls sing on"
    assert [word.text for word in transcript.words] == [word.text for word in expected]
    np.testing.assert_allclose([word[:2] for word in transcript.words], [word[:2] for word in expected], atol=1e-6)
    assert transcript.duration_s == pytest.approx(len(SONG) * FRAME_S)


def test_lines_end_at_pauses_and_can_be_searched(library: MusicSearch, repository: Path, song: Path):
    library.add(song, progress=False)
    transcript = library.transcribe(song, model=repository)
    assert [text for _, text in transcript.lines] == [
        "the ferry leaves the harbour late and all the gulls",
        "sing on",
    ]
    assert library.put_lyrics({library.track_id(song): transcript.lines}) == []
    (hit,) = library.search(lyrics="and all the girls")
    assert hit.start_s == pytest.approx(3 * FRAME_S)


def test_a_line_has_at_most_twelve_words_and_a_phrase_is_one():
    words = tuple(Word(second, second + 0.9, f"w{second}") for second in range(14))
    assert [len(text.split()) for _, text in Transcript(words, None, 14.0).lines] == [12, 2]
    phrases = (Word(0.0, 2.0, "one two"), Word(2.0, 3.0, "three four"), Word(3.0, 4.0, "five"))
    assert Transcript(phrases, None, 4.0).lines == [(0.0, "one two"), (2.0, "three four"), (3.0, "five")]


def test_notes_come_from_the_second_sound(library: MusicSearch, repository: Path, tmp_path: Path):
    """A note begins in each frame of a "!", whose number is 33; its key is the number that most of its frames have."""
    path = write_audio(tmp_path / "notes.wav", spell("__!ddddd__!ooo__"), sample_rate_hz=RATE_HZ)
    notes = library.transcribe(path, model=repository).notes
    half_s = FRAME_S / 2  # notes have twice the frames
    starts_s = [(frame + 0.5) * half_s for frame in (4, 5, 20, 21)]
    assert [note.start_s for note in notes] == pytest.approx(starts_s)
    assert [note.key for note in notes] == [33, encode("d")[0], 33, encode("o")[0]]
    assert isinstance(notes[0], Note)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same length as `song`, with a note in every window: "!" begins one."""
    spelling = ("_" * 9 + "!ooo").ljust(13, "_") * len(SONG)
    sound = spell(spelling[: len(SONG)])
    return write_audio(tmp_path_factory.mktemp("voices") / "vocals.wav", sound, sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_voice_of_ones_own_is_the_second_sound(
    library: MusicSearch, repository: Path, song: Path, voice: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
):
    monkeypatch.setattr(LocalTranscriber, "batch_size", batch_size)
    alone = library.transcribe(song, model=repository)
    both = library.transcribe(song, model=repository, voice=voice)
    assert (both.words, both.duration_s) == (alone.words, alone.duration_s)
    assert alone.notes == ()
    # Each "!" is the onset of two notes: one of a frame, and one of the "o" that follows.
    starts_s = [(place + 0.25 * half) * FRAME_S for place in range(9, len(SONG), 13) for half in (1, 3)]
    assert [note.start_s for note in both.notes] == pytest.approx(starts_s)


@pytest.mark.parametrize("samples", [-1_600, -1, 0, 1, 1_600])
def test_a_voice_is_as_long_as_its_file_to_a_tenth_of_a_second(
    library: MusicSearch, repository: Path, tmp_path: Path, samples: int
):
    """A voice that is shorter by 0.1 s has ended where the last window of the file has more than the one before."""
    sound = spell(SONG)[: 28 * STEP + 800]

    def write(name: str, *, more: int) -> Path:
        return write_audio(tmp_path / name, np.resize(sound, len(sound) + more), sample_rate_hz=RATE_HZ)

    path = write("song.wav", more=0)
    both = library.transcribe(path, model=repository, voice=write("voice.wav", more=samples))
    assert both.text == "the ferry leaves the h"
    assert both.duration_s == len(sound) / RATE_HZ
    for more in (-1_601, 1_601):
        with pytest.raises(
            AudioError, match=r"other\.wav: lasts 3\.\d\d s, but .*song\.wav lasts 3\.63 s: give the voice"
        ):
            library.transcribe(path, model=repository, voice=write("other.wav", more=more))


def test_a_language_model_decides_what_the_sound_leaves_open(library: MusicSearch, repository: Path, tmp_path: Path):
    """The sound of a frame is between b and c, a little nearer to c."""
    sound = spell("_a_ bat bat")
    sound[8 * STEP : 9 * STEP] = (encode("b")[0] + 0.52) / 64
    path = write_audio(tmp_path / "bat.wav", sound, sample_rate_hz=RATE_HZ)
    (tmp_path / "book.txt").write_text("A bat, a bat, the bat.\nBat!\n", encoding="utf-8")
    assert library.transcribe(path, model=repository).text == "a bat cat"
    assert library.transcribe(path, model=repository, texts=[tmp_path / "book.txt"]).text == "a bat bat"


@pytest.mark.parametrize("length", [1, 99, 100, 101, 175, 176, 250, 1000])
@pytest.mark.parametrize("block", [1, 7, 100, 333])
def test_windows_cover_a_file(length: int, block: int):
    sound = np.arange(1, length + 1, dtype=np.float32)
    cuts = list(cut_windows(np.split(sound, range(block, length, block)), samples=100, hop=75))
    assert [cut.is_last for cut in cuts] == [False] * (len(cuts) - 1) + [True]
    for number, cut in enumerate(cuts):
        part = sound[75 * number : 75 * number + 100]
        assert cut.sound == len(part)
        assert np.array_equal(cut.waveform, np.pad(part, (0, 100 - len(part))))
    assert len(cuts) == 1 or cuts[-1].sound > 25  # something that the one before had not
    assert 75 * (len(cuts) - 1) + cuts[-1].sound == length


@pytest.mark.parametrize(
    ("spelling", "ends"),
    [
        ("a___aaaa___a", [9]),  # only a rest in the second half of ten frames counts
        ("aaaaa aa__aaaaa", [6]),  # one with a space before a longer one, which may be inside of a word
        ("aaaaaaaaaaaa", [10, 12]),
        ("a_a", [3]),
    ],
)
def test_pieces_end_at_the_longest_rest(spelling: str, ends: list[int]):
    classes = [BLANK if character == "_" else encode(character)[0] for character in spelling]
    characters = np.full((CLASSES, len(classes)), -9.0, np.float32)
    characters[classes, range(len(classes))] = 0
    pieces = list(cut_at_rests(characters, most=10))
    assert [piece.stop for piece in pieces] == (ends if ends[-1] == len(spelling) else [*ends, len(spelling)])
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]


@pytest.mark.parametrize("samples", [1, 2])
def test_a_file_of_one_sample_has_no_words_and_notes(
    library: MusicSearch, repository: Path, tmp_path: Path, samples: int
):
    """Of one sample at 44.1 kHz none is left at 16 kHz."""
    path = write_audio(tmp_path / "click.wav", np.full(samples, 0.5, np.float32), sample_rate_hz=44_100)
    (tmp_path / "book.txt").write_text("A bat.\n", encoding="utf-8")
    for texts in ([], [tmp_path / "book.txt"]):
        transcript = library.transcribe(path, model=repository, texts=texts)
        assert (transcript.words, transcript.notes) == ((), ())


def test_a_file_that_is_no_sound_is_named(library: MusicSearch, repository: Path, tmp_path: Path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        library.transcribe(tmp_path / "text.wav", model=repository)


def test_without_a_transcriber_the_error_says_what_to_do(library: MusicSearch, song: Path):
    with pytest.raises(EncoderError, match=r"has no lyrics_transcriber: export one .* or give a Whisper as asr"):
        library.transcribe(song)


def test_an_encoder_of_ones_own_names_no_transcriber(tiny_repository: Path, tmp_path: Path, song: Path):
    encoder = open_encoder(tiny_repository)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms, pytest.raises(QueryError, match="in model, or give"):
        ms.transcribe(song)
    encoder.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"texts": ["none.txt"]}, r"cannot read the text none\.txt"),
        ({"texts": "book.txt"}, r"texts is one path, expected a list of paths"),
        ({"voice": ["vocals.wav"]}, r"voice is \['vocals\.wav'\], expected the path of one audio file"),
        ({"asr": "whisper", "texts": ["book.txt"]}, r"got asr='whisper' together with model or texts"),
    ],
)
def test_bad_arguments_are_named(library: MusicSearch, repository: Path, song: Path, arguments, problem: str):
    with pytest.raises(QueryError, match=problem):
        library.transcribe(song, model=None if "asr" in arguments else repository, **arguments)


def test_a_text_without_words_is_refused(library: MusicSearch, repository: Path, song: Path, tmp_path: Path):
    (tmp_path / "empty.txt").write_text("1, 2, 3\n")
    with pytest.raises(QueryError, match=r"empty\.txt has no English words"):
        library.transcribe(song, model=repository, texts=[tmp_path / "empty.txt"])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"window_samples" value: { string_value: "32768"', '"window_samples" value: { string_value: "9"', "inputs"),
        ("dims: [ 129, 32 ]", "dims: [ 88, 32 ]", r"declares pitch with dims \[88, 32\]"),
        ('parameters { key: "fingerprint"', 'parameters { key: "print"', "no parameter fingerprint"),
    ],
)
def test_another_configuration_is_refused(tmp_path: Path, old: str, new: str, problem: str):
    folder = build_spelling_transcriber(tmp_path / "models")
    config = folder / "lyrics_transcriber/config.pbtxt"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(EncoderError, match=problem):
        LocalTranscriber(folder, device="cpu")


def test_another_alphabet_is_refused(tmp_path: Path):
    folder = build_spelling_transcriber(tmp_path / "models", characters="abc")
    with pytest.raises(EncoderError, match=r"writes the characters 'abc', expected .* abcdef"):
        LocalTranscriber(folder, device="cpu")


def test_a_server_with_another_transcriber_is_refused(repository: Path, serve):
    configs = configs_of(repository, lyrics_transcriber=("dims: [ 32 ]", "dims: [ 31 ]"))
    server = serve({CONFIGS: configs, INFERS: lambda *_: b""})
    with pytest.raises(ServerMismatch, match=r"serves no usable lyrics_transcriber: .* onset with dims \[31\]"):
        open_transcriber(server.url)


def test_the_command_prints_lines_and_keeps_them(
    library: MusicSearch, repository: Path, song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    library.add(song, progress=False)
    command = ["transcribe", str(song), "--encoder", str(repository)]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "at\tline\tfile",
        f"0:00\tthe ferry leaves the harbour late and all the gulls\t{song}",
        f"0:10\tsing on\t{song}",
    ]
    assert main([*command, "--json", "--into", str(tmp_path / "library")]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["path"] == str(song)
    assert said["words"][0] == {
        "start_s": pytest.approx(3 * FRAME_S),
        "end_s": pytest.approx(6 * FRAME_S),
        "text": "the",
    }
    assert library.search(lyrics="harbour late")[0].path == str(song)
    library.put_lyrics({library.track_id(song): [(None, "Words of a person")]})
    assert main([*command, "--into", str(tmp_path / "library")]) == 0
    assert "keeps its lyrics: its file or an application gave them" in capsys.readouterr().err
    assert library.lyrics(song) == [(None, "Words of a person")]


def test_the_command_goes_on_after_a_file_that_is_no_sound(repository: Path, song: Path, tmp_path: Path, capsys):
    (tmp_path / "text.wav").write_text("no sound")
    assert main(["transcribe", str(tmp_path / "text.wav"), str(song), "--encoder", str(repository), "--json"]) == 1
    shown = capsys.readouterr()
    assert "text.wav" in shown.err
    assert [said["path"] for said in json.loads(shown.out)] == [str(song)]


def test_the_command_takes_a_voice_of_one_file(repository: Path, song: Path, voice: Path, capsys):
    command = ["transcribe", str(song), "--encoder", str(repository), "--voice", str(voice)]
    assert main([*command, "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["path"] == str(song)
    assert len(said["notes"]) == 12
    assert main([*command[:-1], str(voice.with_name("none.wav"))]) == 1
    assert "none.wav: cannot be opened" in capsys.readouterr().err
    assert main([*command[:2], str(song), *command[2:]]) == 2
    assert "--voice is the voice of one file, but 2 are named: transcribe them one" in capsys.readouterr().err


def test_what_was_heard_before_a_failure_is_printed(
    repository: Path, song: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    hear = LocalTranscriber.hear
    calls = iter(range(99))

    def fail_later(self: LocalTranscriber, waveforms: np.ndarray) -> dict[str, np.ndarray]:
        if next(calls) == 7:  # of the seven windows of the first file, none
            raise EncoderError("the server is gone")
        return hear(self, waveforms)

    monkeypatch.setattr(LocalTranscriber, "hear", fail_later)
    other = shutil.copy(song, song.with_name("other.wav"))
    assert main(["transcribe", str(song), str(other), "--encoder", str(repository)]) == 2
    shown = capsys.readouterr()
    assert "sing on" in shown.out
    assert "the server is gone" in shown.err


def test_a_file_that_is_no_track_is_refused_before_it_is_heard(
    library: MusicSearch, song: Path, tmp_path: Path, capsys
):
    command = ["transcribe", str(song), "--encoder", "nowhere", "--into", str(tmp_path / "library")]
    assert main(command) == 2
    assert f"has no track {song}: add it first" in capsys.readouterr().err


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    script = (
        "import sys, client, client.cli.parser\n"
        "print(sorted(name for name in sys.modules if name.startswith(('singing', 'client.lyrics', 'transformers'))))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
