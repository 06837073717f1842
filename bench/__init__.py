"""Each file measures one promise of the product; `python -m bench` regenerates bench/RESULTS.md."""
