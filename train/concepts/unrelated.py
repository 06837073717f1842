"""Generated texts without a concept: about other things, in other languages, nonsense, and random words.

Most of them are not about music. Some are by chance ("summer rock"). `train.concepts.text.targets` decides this by the
similarity of a text to the concepts' phrases.
"""

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from string import ascii_lowercase

from wordfreq import top_n_list

WORDS_SHARE = 2 / 3  # share of texts that are random words; the other kinds share the rest
COMMON_WORDS = 8_000  # how many frequent words of a language are used
MOST_WORDS = 6  # longest text of random words
ENGLISH_SHARE = 2 / 3  # share of English among the texts of random words
OTHER_LANGUAGES = ("cs", "da", "de", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk")

_ASKED = (
    "how to {do} {thing}",
    "where can I buy {thing}",
    "{thing} for sale",
    "the price of {thing}",
    "what is {thing} made of",
    "{thing} delivered tomorrow",
    "a picture of {thing}",
    "{do} {thing} at home",
    "the history of {thing}",
    "{thing} and {thing}",
    "who invented {thing}",
    "is it safe to {do} {thing}",
    "my {thing} is broken",
    "{thing} near me",
    "instructions: {do} {thing}, then {do} {thing}",
    "{thing}",
    "an article about {thing}",
    "a long report on {thing}, with figures and a summary. It was written for an office",
)
_DO = (
    *("repair", "clean", "paint", "cook", "wash", "sell", "install", "measure", "pack", "return", "weigh", "translate"),
    *("configure", "compile", "insure", "freeze", "bake", "store", "recycle", "renew", "cancel", "ship", "print"),
)
_THINGS = (
    *(
        "a refrigerator",
        "an insurance policy",
        "garden soil",
        "a passport",
        "chicken soup",
        "a bicycle tyre",
        "a router",
    ),
    *(
        "the stock market",
        "wall paint",
        "a spreadsheet",
        "an airline ticket",
        "wool socks",
        "a washing machine",
        "bread",
    ),
    *("the tax office", "a hospital bed", "vaccines", "concrete", "a database", "an email attachment", "potatoes"),
    *("the moon landing", "a parking permit", "cement", "a kitchen table", "medicine", "a tent", "a bank account"),
    *("sunscreen", "the human liver", "glaciers", "a courtroom", "algebra", "a shipping container", "the senate"),
    *("a rental car", "mortgage rates", "a coffee machine", "blood pressure", "apples", "a printer cartridge", "shoes"),
    *("the water bill", "a vacuum cleaner", "an elevator", "a software licence", "electric cars", "dental floss"),
    *(
        "a lawn mower",
        "a job application",
        "a keyboard shortcut",
        "the train timetable",
        "olive oil",
        "a wedding dress",
    ),
    *(
        "a solar panel",
        "a chess opening",
        "the population of Brazil",
        "a football match",
        "cat food",
        "a swimming pool",
    ),
)
# For each language: frames, then the words that fill them. Names of styles are left out, because a word such as
# "techno" means the same in all languages.
_LANGUAGES = (
    (
        ("ruhiges {}", "fröhliche Musik mit {}", "ein trauriges Lied mit {} bei Nacht", "langsames {} am Abend", "{}"),
        ("Klavier", "Geige", "Gitarre", "Schlagzeug", "Trompete", "Gesang", "Flöte", "Orgel", "Streicher", "Laute"),
    ),
    (
        ("de la musique calme avec {}", "une chanson triste et {}", "{} rapide et joyeux", "musique pour {}", "{}"),
        ("du violon", "de la guitare", "une batterie", "une trompette", "une voix douce", "danser le soir", "l'orgue"),
    ),
    (
        ("música tranquila con {}", "una canción alegre de {}", "{} lento por la noche", "algo triste con {}", "{}"),
        ("violín", "guitarra", "batería", "trompeta", "flauta", "voz suave", "bajo eléctrico", "teclado"),
    ),
    (
        ("musica calma con {}", "una canzone felice con {}", "{} veloce e allegro", "sottofondo di {}", "{}"),
        ("violino", "chitarra", "batteria", "tromba", "flauto", "voce dolce", "fisarmonica", "archi"),
    ),
    (
        ("rustige muziek met {}", "een vrolijk lied met {}", "{} in de avond", "iets droevigs met {}"),
        ("viool", "gitaar", "slagwerk", "trompet", "fluit", "zachte zang", "accordeon"),
    ),
    (
        ("lugn musik med {}", "en glad sång med {}", "{} på kvällen", "något sorgset med {}"),
        ("fiol", "gitarr", "trummor", "flöjt", "mjuk röst", "dragspel"),
    ),
    (
        ("spokojna muzyka i {}", "wesoła piosenka, {}", "{} nocą", "smutne {}"),
        ("skrzypce", "gitara", "perkusja", "trąbka", "flet", "łagodny głos", "fortepian"),
    ),
    (
        ("sakin müzik, {}", "neşeli bir ezgi ve {}", "gece için {}", "hüzünlü {}"),
        ("keman", "gitar", "davul", "trompet", "flüt", "yumuşak ses", "piyano"),
    ),
    (
        ("спокойная музыка, {}", "весёлая песня и {}", "{} ночью", "грустная {}"),
        ("скрипка", "гитара", "барабаны", "труба", "флейта", "тихий голос", "пианино"),
    ),
    (
        ("静かな{}の曲", "楽しい{}の音楽", "夜の{}", "悲しい{}"),
        ("ピアノ", "バイオリン", "ギター", "太鼓", "歌声", "笛"),
    ),
)


def _question(rng: Random) -> str:
    words = rng.choice(_ASKED)
    while "{" in words:
        words = words.replace("{do}", rng.choice(_DO), 1).replace("{thing}", rng.choice(_THINGS), 1)
    return words


def _foreign(rng: Random) -> str:
    frames, words = rng.choice(_LANGUAGES)
    return rng.choice(frames).format(rng.choice(words))


def _nonsense(rng: Random) -> str:
    return " ".join("".join(rng.choices(ascii_lowercase, k=rng.randint(2, 9))) for _ in range(rng.randint(1, 5)))


@cache
def _common_words(language: str) -> list[str]:
    return [word for word in top_n_list(language, COMMON_WORDS) if word.isalpha() and len(word) > 2]


def _words(rng: Random) -> str:
    language = "en" if rng.random() < ENGLISH_SHARE else rng.choice(OTHER_LANGUAGES)
    return " ".join(rng.choices(_common_words(language), k=rng.randint(1, MOST_WORDS)))


_KINDS: tuple[Callable[[Random], str], ...] = (_question, _question, _foreign, _nonsense)


def unrelated_texts(*, count: int, seed: int) -> Iterator[str]:
    """Yield `count` random texts.

    Two of three are random words. Of the rest, half are about other things, a quarter are in other languages, and a
    quarter are nonsense.
    """
    rng = Random(seed)
    for _ in range(count):
        text = _words(rng) if rng.random() < WORDS_SHARE else rng.choice(_KINDS)(rng)
        yield text[:1].upper() + text[1:] if rng.random() < 0.5 else text
