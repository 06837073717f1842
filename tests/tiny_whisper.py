"""A Whisper of random weights in the files that transformers reads, with windows of one second instead of thirty."""

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

CHUNK_S = 1
POSITIONS = 50 * CHUNK_S  # of the encoder: one for 20 ms
MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|translate|>", "<|notimestamps|>")
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", "\u0120"]  # byte-level BPE writes a space as \u0120


def build_tiny_whisper(folder: Path, *, word_times: bool) -> Path:
    """Write the model into a folder, with or without the heads that time words."""
    tokens = [*LETTERS, *MARKS, *(f"<|{place / 50:.2f}|>" for place in range(POSITIONS + 1))]
    ids = {token: place for place, token in enumerate(tokens)}
    tokenizer = WhisperTokenizer(
        vocab=ids,
        merges=[],
        unk_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        language="en",
        task="transcribe",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS[1:])})
    tokenizer.add_tokens(tokens[len(LETTERS) + len(MARKS) :])
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(len(tokens)))
    config = WhisperConfig(
        vocab_size=len(tokens),
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_source_positions=POSITIONS,
        max_target_positions=40,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"],
        is_multilingual=True,
        lang_to_id={"<|en|>": ids["<|en|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        max_initial_timestamp_index=POSITIONS,
        max_length=30,
        suppress_tokens=[],
        begin_suppress_tokens=[],
        **({"alignment_heads": [[1, 0], [1, 1]]} if word_times else {}),
    )
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=CHUNK_S)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
