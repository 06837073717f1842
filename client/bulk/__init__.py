"""Embeds a large collection on many machines: `python -m client.bulk` runs a Ray Data pipeline.

    list  ->  decode (a process a core)  ->  embed (Triton, or ONNX Runtime)  ->  write (Parquet files, or Milvus)

Ray does the scheduling, the retries and the backpressure. The output alone tells what is done. After any crash, the
same command reads from the output which tracks are written, and continues with the others.

Nothing imports this package, and nothing else of `client` imports Ray.
"""
