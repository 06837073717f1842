"""How good is a checkpoint? Pure metric functions and one protocol per file."""
