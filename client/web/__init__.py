"""`music-search web LIB`: a web page for a library, and the HTTP API that the page uses."""
