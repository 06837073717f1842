"""Finds negations in a query: "jazz without drums" wants jazz, and no drums.

A text encoder hardly tells "no drums" from "drums" (MuLan §4.2.1). So a negated sound is taken out of the text and
handled as unwanted. Only words for things that can be heard are read this way. Sayings and titles stay as they are ("a
horse with no name"), and so does everything that the lists below do not know. This handles plain English and is not a
parser. If it is wrong, the search shows how it read the query, and `literal` or quotation marks keep the text as it is.
"""

import re
from itertools import islice
from typing import NamedTuple

VOICES = "vocals"
"""The sound that an instrumental does not have."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Sounds in a piece of music, in the singular. Some are in the plural because sayings use their singular ("without a
# sound").
_SOUNDS = _words(
    "808 accordion applause arpeggio auto-tune autotune bagpipe band bandoneon banjo bass bassline bassoon beat bell "
    "birdsong bongo bowl brass breaks brush build-up cajon celesta cello chant chanting choir chop choral chord chorus "
    "clap clapping clarinet clavinet conga contrabass cornet cowbell crescendo crowd cymbal dialogue didgeridoo "
    "distortion djembe drone drops drum drummer dulcimer effect electronics fanfare feedback fiddle flute gamelan "
    "glockenspiel guitar guitarist harmonica harmony harp harpsichord hats hi-hat hiss hook horn humming instrument "
    "instrumentation kalimba keyboard keys kick kit koto lead loop lute lyric mandolin maracas marimba melody music "
    "noise note oboe ocarina orchestra organ pad parts percussion percussionist pianist piano piccolo pizzicato pulse "
    "rain rap rapper rapping recorder reverb rhodes rhythm riff sample sax saxophone scratching scream screaming "
    "section shaker shakuhachi shamisen shouting singer singing siren sitar snare solo song sounds speech string "
    "strumming sub-bass synth synthesizer tabla talking tambourine theremin thunder timpani tom track triangle "
    "trombone trumpet tuba tune ukulele vibraphone vibrato viola violin violinist vocal vocalist vocoder voice "
    "voice-over whisper whispering whistle whistling woodwind words xylophone yelling yodeling"
)
_STYLES = _words(
    "afrobeat ambient americana anthem ballad baroque bebop bluegrass blues breakbeat calypso chiptune classical "
    "country cumbia dance dancehall disco dixieland downtempo drill dub dubstep edm electro electronica emo eurodance "
    "flamenco folk funk fusion garage gospel grime grunge hardcore hip-hop house hyperpop indie industrial j-pop jazz "
    "jungle k-pop klezmer lo-fi lofi lullaby march mariachi merengue metal metalcore opera phonk polka pop psytrance "
    "punk r&b ragtime rave reggae reggaeton rnb rock rockabilly salsa samba shoegaze ska swing symphony synthpop "
    "synthwave tango techno trance trap vaporwave waltz"
)
_QUALITIES = _words(
    "acid acoustic aggressive alternative angry atonal boring bright calm chaotic cheerful cheesy christmas classic "
    "dark deep depressing dissonant distorted dramatic dreamy dull electric electronic energetic epic experimental "
    "fast french gentle german gloomy gothic groovy happy harsh heavy high instrumental intense jazzy joyful latin "
    "live loud low melancholic melancholy mellow melodic middle modern monotonous moody muted noisy orchestral "
    "peaceful percussive poppy progressive quiet relaxed relaxing repetitive rhythmic romantic rough sad scary "
    "sentimental slow soft soothing spoken sung sweet tense tribal upbeat uplifting vocal warm weird"
)
_SUNG = re.compile(r"\b(?:vocals?|voices?|sing(?:s|ing|ers?)?|sung|choirs?|lyrics?|rap(?:s|ping|pers?)?)\b", re.I)
_INSTRUMENTAL = re.compile(r"\binstrumentals?\b", re.I)

# Names of several words that count as one word: these, and anything in quotation marks.
_NAMES = re.compile(
    r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u00ab[^\u00bb]*\u00bb|"
    r"\b(?:drum ?(?:and|&|n|'n'?) ?bass|rock ?(?:and|&|n|'n'?) ?roll|rhythm (?:and|&) blues|country (?:and|&) western|"
    r"call (?:and|&) response|hip hop (?:and|&) r&b|(?:hip|trip) hop|new age|(?:new|no) wave|bossa nova|big band|"
    r"spoken word|(?:soul|world) music|bass line|drum machine|free jazz|music box)\b",
    re.I,
)

_HAVE = r"(?:have|has|having|had|contain(?:s|ing)?|includ(?:e|es|ing)|featur(?:e|es|ing)|us(?:e|es|ing)|with)"
_BE = r"(?:is|are|was|were|be|am)"
_TRIGGER = re.compile(
    # The words that introduce it are removed too: "that has no drums", "and there are no drums", "but not jazz".
    rf"(?<![\w'-])(?:(?:but|and|yet|(?:that|which|it|there|i|they)(?:'s|'re|'m)?|ain't|{_BE}|{_HAVE})\s+){{0,4}}"
    r"(?:(?P<not>(?:no|zero|without|w/o|sans|minus|lacking|lacks?|exclud(?:e|es|ing)|omit(?:s|ting)?|"
    r"except(?:\s+for)?|avoid(?:s|ing)?|(?:instead|free|devoid)\s+of|rather\s+than|neither|never|"
    r"(?:anything|everything|all)\s+(?:but|except(?:\s+for)?)|"
    # "Don't stop" is not a negation of a sound, so one of these verbs must follow.
    rf"(?:do|does|did|should|must|can|could|would|will)(?:n't|\s+not)\s+(?:be|sound|want|need|like|love|{_HAVE})|"
    rf"(?:{_BE}|has|have)(?:n't|\s+not)|not)(?:\s+{_HAVE})?(?:\s+|-(?=\w)))"
    r"|non-(?P<non>\w+)|(?P<free>\w+)-?(?:free|less)(?![\w-]))",
    re.I,
)
_ARTICLES = _words(
    "a an the any some much many kind kinds sort sorts type types trace hint sign use of real like sounding single no"
)
# The name of a sound may have any words but these: "no tenor sax", but "not only drums".
_FUNCTION_WORDS = _words(
    "a after always an and are as at be before but by during each else ever every for from he her him his how i if in "
    "is it its just less longer me more most my never no nor not of on one only or other our please quite really she "
    "so than that the their them then these they this those till to too until us very was we what when where while who "
    "why with without you your"
)
_MODIFIER = re.compile(r"[a-z'-]*(?:[a-rt-z]|[siu]s)|\d0s", re.I)  # a word that is not a plural
_PARTICIPLE = re.compile(r"\s+([a-z]+ed)\b", re.I)
_ITEM_WORDS, _MOST_WORDS = 4, 64  # the most words of one thing, and of all things that one negation negates
_WORD = re.compile(r"[^\s/,;:.!?()\[\]|\u2013\u2014]+|\S")
# Words after the sound that say when or where it is absent. They are not part of the query.
_AFTER = re.compile(
    r"(?:\s*\b(?:(?:at all|whatsoever|please|allowed|added|used|needed|included|required|wanted|in it|there)\b|"
    r"(?:until|till?|before|after|during|throughout|when(?:ever)? (?:the|it|s?he|they)|where|once|"
    r"(?:in|at|near|from|towards?) (?:the|its?|any|them)|"
    r"(?:for|on|over|under) the (?:first|last|whole|entire|start|beginning|end|intro|outro|verse|chorus|bridge)s?)\b"
    r"(?! (?:style|vein|key|manner|spirit|mood|tradition|genre)\b)"
    r".*?(?=\s*(?:[,;!?()|\u2013\u2014]|\.(?!\d)|\s-\s|\b(?:and|but|with|then)\b|$))))+",
    re.I,
)

# Words that say nothing about the music. A query of only these words and negations only excludes sounds.
_FILLERS = _words(
    "a an the some any all only just please music musical track tracks song songs piece pieces tune tunes something "
    "anything everything stuff audio sound sounds recording recordings with of i i'd i'm want wants need like love "
    "find me us show give get play search looking for to listen in it and but or that which is are has have there "
    "would could can you really so at first last minute minutes second seconds beginning start intro end"
)
_DANGLING = re.compile(
    r"^(?:[\s,;:.!?/|&\u2013\u2014-]|\b(?:and|or|but|nor|with|then)\b(?=\s|$))+|"
    r"(?:[\s,;:/|&\u2013\u2014-]|\b(?:and|or|but|nor|with|that|which|where|a|an)\b)+$",
    re.I,
)


class Read(NamedTuple):
    """A text, split into wanted and unwanted.

    Attributes:
        wanted: the rest of the text. Empty if the text only says what is unwanted.
        unwanted: the unwanted sounds, each once.
    """

    wanted: str
    unwanted: tuple[str, ...]


def read_negation(text: str) -> Read:
    """Split a text into wanted and unwanted. A text without a negation stays as it is.

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

    rest = _NAMES.sub(hide, text.replace("\u2019", "'"))
    kept, unwanted = "", list[str]()
    while (found := _next(rest)) is not None:
        start, end, items = found
        kept, rest = f"{kept}{rest[:start]} ", rest[end:]
        unwanted += map(show, items)
    wanted = show(f"{kept}{rest}") if unwanted else text
    if _INSTRUMENTAL.search(_NAMES.sub("", wanted)) and not any(map(_SUNG.search, [wanted, *unwanted])):
        unwanted.append(VOICES)
    if wanted != text:
        wanted = re.sub(r"\(\s*\)|\[\s*\]", "", wanted)  # brackets that are empty now
        wanted = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(wanted.split()))
        wanted = re.sub(r"([,;:|/\u2013\u2014])(?:\s*[,;:|/\u2013\u2014])+", r"\1", wanted)
        wanted = _DANGLING.sub("", wanted).strip()
        if not set(re.findall(r"[^\s,.;:!?]+", wanted.casefold())) - _FILLERS:
            wanted = ""
    return Read(wanted, tuple(dict.fromkeys(unwanted)))


def _next(text: str) -> tuple[int, int, list[str]] | None:
    """Where the next negation begins and ends, and the things that it negates."""
    for match in _TRIGGER.finditer(text):
        if match["not"] is None:
            name = match["non"] or match["free"].casefold()
            if _is_in(name, _SOUNDS if match["free"] else _SOUNDS | _STYLES | _QUALITIES):
                return match.start(), match.end(), ["drums" if name == "drum" else name]
            continue
        before = text[: match.start("not")].casefold().rsplit(maxsplit=1)[-1:]
        if before in (["or"], ["why"], ["if"]):
            continue  # with or without; why not; fast, if not frantic
        if read := _items(text, match.end(), match["not"]):
            return match.start(), *read
    return None


def _items(text: str, start: int, trigger: str) -> tuple[int, list[str]] | None:
    """The end of the negation, and the things that are negated from `start` on. None if none of them can be heard."""
    words = list(islice(_WORD.finditer(text, start), _MOST_WORDS))
    may_be_name = trigger.islower()  # else the capital letters may belong to a title
    items: list[str] = []
    sure, end, place, joint = 0, start, 0, ""
    while (read := _item(words, place, may_be_name=may_be_name)) is not None:
        first, last = read
        if joint in ("and", "&") and (sure < len(items) or first > place or words[first][0].casefold() in _QUALITIES):
            break  # a new phrase: "no drums and a soft cello"
        items.append(" ".join(word[0] for word in words[first:last]))
        if joint != ",":  # a list with commas is only negated as a whole if it ends with "or"
            sure, end = len(items), words[last - 1].end()
        joints = [word[0].casefold() for word in words[last : last + 2]]
        if joints[:1] == [","] and joints[1:] in (["or"], ["nor"]):
            joints = joints[1:]
            last += 1
        if not joints or joints[0] not in (",", "or", "nor", "/", "and", "&"):
            break
        joint, place = joints[0], last + 1
    if not sure:
        return None
    if after := _AFTER.match(text, end):
        return after.end(), items[:sure]
    bound = _PARTICIPLE.match(text, end)  # "no strings attached"
    return None if bound and bound[1].casefold() not in _QUALITIES else (end, items[:sure])


def _item(words: list[re.Match[str]], place: int, *, may_be_name: bool) -> tuple[int, int] | None:
    """The word numbers where one thing that can be heard begins and ends. A plural ends it."""
    while place < len(words) and words[place][0].casefold() in _ARTICLES:
        place += 1
    sound_end, quality_end, is_known = None, None, True
    for index, match in enumerate(words[place : place + _ITEM_WORDS], place):
        word = match[0]
        is_name = "\0" in word or (may_be_name and len(word) > 1 and word[0].isupper())
        if is_name or _is_in(word, _SOUNDS) or (is_known and _is_in(word, _STYLES)):
            sound_end = index + 1
            if not is_name and not _is_in(word, _SOUNDS | _STYLES, plural=False):
                break
        elif sound_end:
            break
        elif word.casefold() in _QUALITIES:
            quality_end = index + 1 if is_known else None
        elif word.casefold() in _FUNCTION_WORDS or not word[0].isalnum():
            break
        else:  # "no happy ending" does not mean "no happy"
            is_known, quality_end = False, None
            if not _MODIFIER.fullmatch(word):
                break
    end = sound_end or quality_end
    return None if end is None else (place, end)


def _is_in(word: str, names: frozenset[str], *, plural: bool = True) -> bool:
    """Whether a word, or the part after its last hyphen, is one of these names or the plural of one."""
    forms = {word.casefold(), word.casefold().rpartition("-")[2]}
    if plural:
        forms |= {re.sub(*rule, form) for form in forms for rule in (("s$", ""), ("es$", ""), ("ies$", "y"))}
    return not forms.isdisjoint(names)
