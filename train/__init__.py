"""Learn an audio-text dual encoder from a manifest of (audio, captions) rows."""
