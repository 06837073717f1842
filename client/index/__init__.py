"""How a library is stored: the catalogue (SQLite, the source of truth) and the search index derived from it."""
