"""Search by lyrics: words from tags, from .lrc files beside the music, or from an application.

Lyrics are in a file of their own in the library's folder (see `book`). `MusicSearch` imports this package only where
lyrics are asked for.
"""
