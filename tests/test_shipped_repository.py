"""The committed model_repository/ is whole, small, and what the exporter writes."""

from dataclasses import asdict
from pathlib import Path

from client.encoders import open_encoder
from export.triton_config import ModelParameters, fingerprint, write_configs

REPOSITORY = Path(__file__).parents[1] / "model_repository"
FILES = ("audio_encoder/1/model.onnx", "text_encoder/1/model.onnx", "text_tokenizer/1/tokenizer.json")


def test_the_fingerprint_is_that_of_the_files():
    encoder = open_encoder(None)
    assert encoder.spec.fingerprint == fingerprint(*((REPOSITORY / name).read_bytes() for name in FILES))
    encoder.close()


def test_the_configurations_are_those_of_the_exporter():
    encoder = open_encoder(None)
    parameters = ModelParameters(**asdict(encoder.spec))
    encoder.close()
    for name, text in write_configs(parameters).items():
        assert (REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8") == text, name


def test_all_of_it_is_under_90_mb():
    assert sum(path.stat().st_size for path in REPOSITORY.rglob("*") if path.is_file()) < 90e6
