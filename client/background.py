"""How good a score has to be before it means anything, for one library and one model.

A cosine similarity says little by itself. Its usual range differs between models and between libraries, and the best of
a million tracks scores higher by chance than the best of a hundred. So a score is compared with the best scores of
unrelated texts, which describe no music at all. The share of them that it beats is its probability. If the best hit of
a search does not beat most of them, the search found nothing that fits.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .encoders import Encoder

WEAK_BELOW = 0.9
"""A best hit with a lower probability is weak. One unrelated text in ten does as well."""

# Sentences as long as people's queries, about everything but sound.
_UNRELATED = (
    "how to file a tax return",
    "a recipe for apple pie",
    "the boiling point of water",
    "directions to the railway station",
    "a contract between landlord and tenant",
    "python list index out of range",
    "symptoms of a vitamin deficiency",
    "the capital of Mongolia",
    "a photo of a red bicycle",
    "opening hours of the town library",
    "replace the battery of a laptop",
    "the causes of the first world war",
    "a table of contents",
    "how to tie a bowline knot",
    "cheap flights to Lisbon in March",
    "the surface area of a sphere",
    "wooden garden furniture",
    "an invoice for office supplies",
    "the life cycle of a butterfly",
    "my password does not work",
    "interest rates and inflation",
    "a map of the underground",
    "how many calories are in a banana",
    "the rules of chess",
    "a letter of complaint about a parcel",
    "stainless steel screws, 40 mm",
    "what is the tallest mountain",
    "a blue cotton shirt, size medium",
    "how to unclog a kitchen sink",
    "photosynthesis in green plants",
    "the minutes of the last meeting",
    "a visa application form",
    "tomorrow's weather forecast",
    "a vegetarian lasagne for six people",
    "the distance from the earth to the moon",
    "used cars below five thousand",
    "a warranty claim for a dishwasher",
    "training a puppy to sit",
    "the periodic table of elements",
    "how to prune roses in winter",
    "a floor plan with two bedrooms",
    "the terms of a loan",
    "a microscope slide of onion skin",
    "replacing a flat tyre",
    "the parliamentary election results",
    "a bouquet of yellow tulips",
    "convert miles to kilometres",
    "the ingredients of toothpaste",
)
_MUSIC = (
    "calm solo piano at night",
    "fast heavy metal with distorted guitars",
    "smooth jazz with saxophone",
    "a string quartet playing slowly",
    "techno with a driving beat",
    "a happy folk song with acoustic guitar",
    "sad violin melody",
    "reggae with a laid-back bass line",
    "an orchestra playing a march",
    "hip hop beat with deep bass",
    "ambient pads without drums",
    "funk with slap bass and brass",
    "a lullaby on a music box",
    "bossa nova with nylon guitar",
    "aggressive punk rock",
    "church organ",
    "trance with arpeggiated synthesizers",
    "country music with banjo and fiddle",
    "a dramatic film score with brass and strings",
    "lo-fi beats to study to",
    "flute and harp",
    "drum and bass",
    "a waltz in three four time",
    "blues guitar solo",
    "electronic music for the dance floor",
    "soft singing with a guitar",
    "medieval music with lute",
    "disco with strings",
    "minimal piano, repeating patterns",
    "salsa with congas and trumpets",
    "an eerie soundscape",
    "rock and roll from the fifties",
    "a slow ballad",
    "chiptune, like an old video game",
    "tribal drums",
    "a choir singing",
    "gentle marimba",
    "energetic house music",
    "swing big band",
    "a sitar drone",
    "indie pop with bright synths",
    "marching drums and bagpipes",
    "accordion in a Paris café",
    "dark cinematic tension",
    "uplifting corporate background music",
    "clarinet and bassoon duet",
    "a cappella voices",
    "garage rock with fuzzy guitars",
)


def make_probes(encoder: Encoder) -> dict[str, NDArray[np.float32]]:
    """Embed the texts that `Background` and the search index measure a library with: float32 [n, dim] by kind."""
    return {"unrelated": encoder.embed_texts(_UNRELATED), "music": encoder.embed_texts(_MUSIC)}


class Background:
    """The best scores of unrelated queries, which describe nothing in the library.

    Args:
        scores: float32 [n], at least one.
    """

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._mean = float(np.mean(scores))
        self._deviation = max(float(np.std(scores)), 1e-6)

    def probability(self, score: float) -> float:
        """The share of the scores below a score, 0 to 1, by a normal distribution with their mean and deviation."""
        return 0.5 * (1.0 + math.erf((score - self._mean) / (self._deviation * math.sqrt(2.0))))
