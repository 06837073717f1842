"""Embedding a large collection on many machines: `python -m client.bulk` runs it as a Ray Data pipeline.

    list  ->  decode (a process a core)  ->  embed (Triton, or ONNX Runtime)  ->  write (Parquet files, or Milvus)

Ray schedules, retries and holds up who is ahead; nothing of that is ours. What is done is known from the output alone:
whatever was killed, the same command reads there which tracks are written, and goes on with the others.

Nothing imports this package, and nothing else of `client` imports Ray.
"""
