"""The tables and figures of both papers, trained and measured on your own data, with the papers' figures beside.

`papers` holds what the papers say, `rows` what each row trains, `measures` what a table asks of it, `grid` trains the
rows and keeps them, `show` prints. `prepare` makes the folder of data from a rendered corpus.
"""
