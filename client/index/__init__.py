"""What a library remembers: the catalogue (SQLite, the truth) and what is derived from it for search."""
