"""What voices sing and say: word lists of this project's own, without meaning beyond their sound."""


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words of one syllable, or single syllables of longer ones: each is sung on one note.
SYLLABLES: dict[str, tuple[str, ...]] = {
    "en": _split(
        "love day night light home heart fire rain sun moon sky blue dream time road way gone you me we all free fly "
        "run stay away so low high now more never been down on my baby hold feel wild young world soul girl boy name"
    ),
    "de": _split("Herz Nacht Licht Traum Zeit Wind Tag Stern du ich wir nie so weit fern Meer Glück Lied Mond froh"),
    "fr": _split("jour nuit coeur ciel mer vent feu lune toi moi nous rêve doux loin vie temps fleur rue beau monde"),
    "es": _split("sol mar luz voz paz flor tú yo más no sí ven vida alma cielo noche fuego luna siempre amor"),
    "it": _split("sol mar ciel cuor amor tu io mai più bel sei qui vita luna sogno notte stella voce dolce fior"),
    "pt": _split("sol mar luz voz paz flor céu som meu bem vem vida lua noite dança amor saudade rio samba sim"),
    "la": _split("ky ri e le i son glo ria san ctus do na no bis pa cem a men De us lux ae ter na"),
}
# Sung without words: open and hummed.
VOCALISES = (("ah",), ("oo",), ("oh",), ("la",), ("na",), ("la", "da"), ("doo", "bah"), ("hey", "yeah", "oh"))
HUMS = (("mm",), ("hmm",), ("nn",))

# One line fills a bar of rap, or is said over the music.
LINES: dict[str, tuple[str, ...]] = {
    "en": (
        "I walk in the city with the lights down low",
        "every day I'm working and it's never too slow",
        "count it up again and put it back in the bag",
        "we came from the bottom and we never look back",
        "listen to the rhythm when the speakers get loud",
        "two steps to the left and then I move through the crowd",
        "nobody can tell me what I already know",
        "the clock on the wall says it's time for the show",
        "tell my little brother that the story is true",
        "money on my mind and there is nothing to lose",
        "roll another corner with the top rolled down",
        "they talk about the king but I'm running the town",
        "the river was quiet on the morning we left",
        "she opened the window and she held her breath",
        "remember the summer and the smell of the grass",
        "a letter on the table and a hole in the glass",
        "somewhere in the distance there was thunder and rain",
        "he said he would come back on a different train",
        "if you close your eyes you can hear how it grows",
        "the winter is long and the water is cold",
    ),
    "de": (
        "ich lauf durch die Straßen und die Stadt wird nicht leise",
        "die Nacht ist noch jung und wir gehen auf die Reise",
        "keiner kann mir sagen was ich lange schon weiß",
        "am Ende der Woche wird der Keller wieder heiß",
        "der Regen fällt langsam auf die Dächer am Fluss",
        "sie sagte mir leise dass sie morgen gehen muss",
    ),
    "fr": (
        "je marche dans la ville et la nuit est à nous",
        "la lune est si belle que le monde devient fou",
        "on danse sur la place et la pluie peut tomber",
        "personne ne m'écoute mais je vais leur parler",
        "elle ouvre la fenêtre et le vent du matin",
        "il reste sur la table une lettre et du pain",
    ),
    "es": (
        "camino por la calle con la luz de la luna",
        "la noche está caliente como no hay ninguna",
        "escucha lo que digo que te voy a contar",
        "venimos desde abajo y no vamos a parar",
        "la puerta estaba abierta y el viento la cerró",
        "me dijo una palabra y después se marchó",
    ),
}
