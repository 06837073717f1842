"""Search by lyrics: words from tags, from .lrc files beside the music, or from an application.

This is a room of its own. Lyrics are in a file of their own in the library's folder (see `book`). `MusicSearch` imports
what is here only where lyrics are asked for.
"""
