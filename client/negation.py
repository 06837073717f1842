"""What a query says that there shall not be: "jazz without drums" wants jazz, and no drums.

A text encoder hardly tells "no drums" from "drums" (MuLan, section 4.2), so what is negated is taken out of the text
and searched for as something unwanted. This is a reading of plain English, not a parser: where it is wrong, a search
shows how it read, and `literal` or quotation marks around a title leave the text as it is.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

VOICES = "vocals"
"""What an instrumental has not."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that sound or that make a sound: of these, "-free" and "-less" say that there are none ("royalty-free" does
# not), and "No Drums" is no title.
_SOUNDS = _words(
    "autotune bass bassline beat beats brass choir choirs cymbal cymbals distortion drum drums electronics flute "
    "flutes guitar guitars horn horns instruments keyboard keyboards lyric lyrics melody noise organ percussion piano "
    "rap rapping reverb samples sax saxophone saxophones saxes singer singers singing solo solos strings synth synths "
    "synthesizer synthesizers trumpet trumpets violin violins vocal vocals voice voices whistling"
)
_SUNG = re.compile(r"\b(?:vocals?|voices?|sing(?:s|ing|ers?)?|sung|choirs?|lyrics?|rap(?:s|ping|pers?)?)\b", re.I)
_INSTRUMENTAL = re.compile(r"\binstrumentals?\b", re.I)

# One name, though it has a conjunction in it.
_NAMES = re.compile(
    r"\b(?:drum (?:and|&|n|'n'?) bass|rock (?:and|&|n|'n'?) roll|rhythm (?:and|&) blues|country (?:and|&) western|"
    r"call (?:and|&) response|hip hop (?:and|&) r&b)\b",
    re.I,
)
_QUOTED = re.compile(r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u00ab[^\u00bb]*\u00bb")

_HAVE = r"(?:have|has|having|had|contain(?:s|ing)?|includ(?:e|es|ing)|featur(?:e|es|ing)|us(?:e|es|ing)|with)"
_BE = r"(?:is|are|was|were|be|am|'s|'re)"
_TRIGGER = re.compile(
    # What introduces it goes too: "that has no drums", "and there are no drums", "but not jazz".
    rf"(?:(?<![\w-])(?:(?:but|and|yet|that|which|it|there|{_BE}|{_HAVE})\s+)*)?"
    r"(?:(?P<no>(?<![\w-])no\s+)"
    r"|(?P<without>(?<![\w-])(?:(?:without|w/o|sans|minus|lacking|lacks?|excluding|except(?:\s+for)?|avoid(?:s|ing)?|"
    r"instead\s+of|rather\s+than|(?:free|devoid)\s+of|neither)\s+))"
    # "Don't stop" is no such thing: after these, one of these verbs must follow.
    rf"|(?P<not>(?<![\w-])(?:(?:i\s+)?(?:do|does|did|should|must|can|could|would|will)(?:n't|\s+not)\s+"
    rf"(?:be|sound|want|need|like|love|{_HAVE})|(?:{_BE}|has|have)(?:n't|\s+not)|not)\s+(?:{_HAVE}\s+)?)"
    r"|(?P<but>(?<![\w-])(?:anything|everything|all)\s+(?:but|except(?:\s+for)?)\s+)"
    r"|(?P<non>(?<![\w-])non-(?=\w)))",
    re.I,
)
_LESS = re.compile(r"(?<![\w-])(?P<what>[a-z]+)-?(?:free|less)(?![\w-])", re.I)

# What follows these words is no sound that there shall not be.
_NO_IDIOMS = _words(
    "one more longer matter problem doubt way wave limit limits time idea reason need needs surprise surprises regrets "
    "regret mercy scrubs diggity woman fear good pain gain sleep place return quarter cry friends rest roots such "
    "wonder worries escape exit"
)
_WITHOUT_IDIOMS = _words(
    "you me us him her them it that this which end warning doubt fear further saying regard love or "
    "company accompaniment hurry hurrying rush rushing haste pause"
)
_NOT_IDIOMS = _words(
    "too very so overly that really quite only just merely simply necessarily even to yet all always for sure more "
    "less least unlike without much at my your this nearly exactly entirely completely totally particularly especially "
    "every never until if what when who how bad afraid fade sorry alone dead over"
)
_IDIOMS = {"no": _NO_IDIOMS, "without": _WITHOUT_IDIOMS, "not": _NOT_IDIOMS, "but": frozenset[str](), "non": {"stop"}}

_ARTICLES = _words("a an the any some much kind kinds sort sorts type types of real like sounding")
# Where a new piece of the query begins.
_BOUNDARIES = _words(
    "but with for in at from to on that which who whose by over as while when where just only played playing please "
    "because so yet than though although during under is are was has have plus featuring instead rather without "
    "w/o no not nor or and & sans minus lacking except excluding at"
)
_NEW_PHRASE = _words(
    "a an the some lots plenty more only just lot with very slow fast calm soft loud quiet gentle happy sad dark "
    "bright warm mellow"
)
_ITEM_WORDS = 4
_WORD = re.compile(r"w/o|[^\s/,;:.!?()\[\]|\u2013\u2014]+|\S", re.I)
_AFTER = re.compile(r"\s*(?:at all|whatsoever|please|allowed|in (?:it|them|there|the background|the mix))\b", re.I)

# Says nothing about the music: a query of such words and of negations alone wants only that something is not there.
_FILLERS = _words(
    "a an the some any all only just please music musical track tracks song songs piece pieces tune tunes something "
    "anything everything stuff audio sound sounds recording recordings with of i i'd i'm want wants need like love "
    "find me us show give get play search looking for to listen in it and but or that which is are has have there "
    "would could can you us really so"
)
_DANGLING = re.compile(
    r"^(?:[\s,;:.!?/|\u2013\u2014-]|\b(?:and|or|but|nor|with)\b(?=\s|$))+|(?:[\s,;:/|\u2013\u2014-]|\b(?:and|or|but|nor|with|that|which|a|an)\b)+$",
    re.I,
)


class Read(NamedTuple):
    """A text as it is read.

    Attributes:
        wanted: what is left of it; empty where it says nothing but what there shall not be.
        unwanted: what there shall not be, each once.
    """

    wanted: str
    unwanted: tuple[str, ...]


def read_negation(text: str) -> Read:
    """Tell what a text wants from what it does not; a text without a negation stays as it is.

    >>> read_negation("calm jazz without saxophone or drums")
    Read(wanted='calm jazz', unwanted=('saxophone', 'drums'))
    >>> read_negation("no drums")
    Read(wanted='', unwanted=('drums',))
    >>> read_negation("not too fast")
    Read(wanted='not too fast', unwanted=())
    """
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\0{len(hidden) - 1}\0"

    def show(part: str) -> str:
        return re.sub(r"\0(\d+)\0", lambda match: hidden[int(match[1])], part)

    plain = _NAMES.sub(hide, _QUOTED.sub(hide, text.replace("\u2019", "'")))
    unwanted: list[str] = []
    kept, rest = "", plain
    while (found := _next(rest, is_title=_is_title(text))) is not None:
        start, end, items = found
        kept, rest = f"{kept}{rest[:start]} ", rest[end:]
        unwanted += items
    unwanted = [show(item) for item in unwanted]
    wanted = show(f"{kept}{rest}") if unwanted else text
    if _INSTRUMENTAL.search(_QUOTED.sub("", wanted)) and not _SUNG.search(wanted):
        unwanted += [VOICES] if not any(map(_SUNG.search, unwanted)) else []
    if wanted != text:
        wanted = re.sub(r"\(\s*\)|\[\s*\]", "", wanted)  # what held nothing else
        wanted = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(wanted.split()))
        wanted = re.sub(r"([,;:|/\u2013\u2014])(?:\s*[,;:|/\u2013\u2014])+", r"\1", wanted)
        wanted = _DANGLING.sub("", wanted).strip()
        if not set(re.findall(r"[^\s,.;:!?]+", wanted.casefold())) - _FILLERS:
            wanted = ""
    return Read(wanted, tuple(dict.fromkeys(unwanted)))


def _next(text: str, *, is_title: bool) -> tuple[int, int, list[str]] | None:
    """Where the next negation begins and ends, and what it negates."""
    found = []
    for match in _TRIGGER.finditer(text):
        kind = match.lastgroup or ""
        before = text[: match.start(kind)]
        if re.search(r"\bwith or\s*$" if kind == "without" else r"n't\s*$", before, re.I):
            continue  # with and without; and two negations, of which "ain't no sunshine" has one too many
        if read := _items(text, match.end(), kind=kind):
            end, items = read
            if not (is_title and not _SOUNDS.intersection(" ".join(items).casefold().split())):
                found.append((match.start(), end, items))
                break
    for match in _LESS.finditer(text):
        if match["what"].casefold() in _SOUNDS:
            name = match["what"].casefold()
            found.append((match.start(), match.end(), ["drums" if name == "drum" else name]))
            break
    return min(found, default=None)


def _items(text: str, start: int, *, kind: str) -> tuple[int, list[str]] | None:
    """What is negated from `start` on, and where it ends; None where it is an idiom, or nothing."""
    words = [(match.start(), match.end(), match[0]) for match in _WORD.finditer(text, start)]
    if kind == "non":
        (_, end, name), *_ = words
        return None if name.casefold() in _IDIOMS[kind] else (end, [name])
    if words and (words[0][2].casefold() in _IDIOMS[kind] or words[0][2][0].isdigit()):
        return None
    items: list[str] = []
    end, place = start, 0
    while read := _item(words, place):
        place, item = read
        end = words[place - 1][1]
        items.append(item)
        if not (joint := _joint(words, place, has_list=_is_list(words, place))):
            break
        place = joint
    if not items:
        return None
    after = _AFTER.match(text, end)
    return after.end() if after else end, items


def _item(words: list[tuple[int, int, str]], place: int) -> tuple[int, str] | None:
    """One thing from a word on: where it ends, and its name."""
    while place < len(words) and words[place][2].casefold() in _ARTICLES:
        place += 1
    taken = []
    for _, _, word in words[place : place + _ITEM_WORDS]:
        if word.casefold() in _BOUNDARIES or not re.search(r"[\w\0]", word) or word.casefold() == "-":
            break
        taken.append(word)
    return (place + len(taken), " ".join(taken)) if taken else None


def _joint(words: list[tuple[int, int, str]], place: int, *, has_list: bool) -> int | None:
    """Where the next thing of an enumeration begins, or None where it ends."""
    joints = [word.casefold() for _, _, word in words[place : place + 3]]
    if joints[:1] == [","] and has_list:
        return place + (2 if joints[1] in ("or", "nor", "and") else 1)
    if joints[:1] in (["or"], ["nor"], ["/"]):
        return place + 1
    if joints[:1] in (["and"], ["&"]) and joints[1:2] and joints[1] not in _NEW_PHRASE | _BOUNDARIES:
        return place + 1
    return None


def _is_list(words: list[tuple[int, int, str]], place: int) -> bool:
    """Whether commas from here on are those of "drums, bass or guitar"."""
    return any(read != "," for read in _pieces(words, place))


def _pieces(words: list[tuple[int, int, str]], place: int) -> Iterator[str]:
    """The conjunctions of an enumeration, as long as it is one."""
    while place < len(words):
        word = words[place][2].casefold()
        if word not in (",", "or", "nor"):
            return
        place += 1
        if word == "," and place < len(words) and words[place][2].casefold() in ("or", "nor"):
            continue
        yield word
        read = _item(words, place)
        if read is None:
            return
        place, _ = read


def _is_title(text: str) -> bool:
    """Whether each of its words begins with a capital, and not all of it is in capitals."""
    words = re.findall(r"[^\W\d_][\w']*", text)
    return bool(words) and all(word[0].isupper() for word in words) and not text.isupper()
