"""Every style by name. A style reads like a short description of the music, in the words of style.py."""

from ..style import Style
from .classical import CLASSICAL
from .electronic import ELECTRONIC
from .jazz_latin import JAZZ_LATIN
from .rock_folk import ROCK_FOLK
from .world import WORLD

STYLES: dict[str, Style] = {style.name: style for style in (*JAZZ_LATIN, *ROCK_FOLK, *ELECTRONIC, *CLASSICAL, *WORLD)}
