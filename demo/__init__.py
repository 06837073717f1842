"""A small rendered collection, its queries, and the script behind `make demo`."""
