"""`music-search web LIB`: a page on a library, and the HTTP interface that it uses."""
