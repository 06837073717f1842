"""Reproduces the tables and figures of both papers on your own data, beside the papers' figures.

* `papers`: the figures that the papers print.
* `rows`: the recipe of each row.
* `measures`: the measurements of each table.
* `grid`: trains the rows and saves their results.
* `show`: prints the tables.
* `prepare`: makes the data folder from a rendered corpus.
"""
