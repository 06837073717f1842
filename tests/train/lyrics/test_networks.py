"""The networks and the loss against the paper's sizes, and a run on one batch that they must learn by heart."""

import math

import numpy as np
import pytest
import torch

from singing.alphabet import BLANK, CHARACTERS, CLASSES, collapse, decode, encode, plain_text
from singing.sung import NO_PITCH
from train.config import FrontendConfig
from train.lyrics.config import ConfigError, CrnnConfig, LyricsConfig, LyricsLossConfig, LyricsModelConfig
from train.lyrics.losses import Truth, joint_loss
from train.lyrics.networks import Estimates, LyricsModel, Melody, PitchOnset, ResidualBlock, Transcriber

PAPER = LyricsModelConfig()
SMALL = FrontendConfig(window_s=0.64, n_fft=512, hop_samples=256, n_mels=16, f_min_hz=0.0)


def small(method: str) -> LyricsModelConfig:
    return LyricsModelConfig(
        method,
        SMALL,
        CrnnConfig((8, 1), (3, 1), 1, 16, 0.0),
        CrnnConfig((8, 2), (3, 3), 1, 32, 0.0),
    )


def waveforms(batch: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, SMALL.window_samples, generator=torch.Generator().manual_seed(seed))


def truth_of(*texts: str, sung: tuple[bool, ...] | None = None) -> Truth:
    batch, frames = len(texts), SMALL.frames
    pitch = torch.full((batch, frames), NO_PITCH)
    pitch[:, 5:20], pitch[:, 20:35] = 60, 64
    onset = torch.zeros(batch, frames)
    onset[:, [5, 20]] = 1
    characters = torch.tensor([number for text in texts for number in encode(text)], dtype=torch.long)
    lengths = torch.tensor([len(text) for text in texts])
    told = torch.tensor(sung or (True,) * batch)
    return Truth(pitch, onset, told, told, characters, lengths)


def test_the_input_is_the_papers():
    frontend = PAPER.frontend
    assert (frontend.frames, frontend.n_mels, frontend.sample_rate_hz) == (1000, 80, 16_000)
    assert frontend.frame_samples / frontend.sample_rate_hz == 0.032
    assert frontend.hop_samples / frontend.sample_rate_hz == 0.016


@pytest.mark.parametrize(
    ("network", "channels", "kernels"),
    [
        (PitchOnset(PAPER.pitch, bands=80), [64, 32, 32, 32, 32, 1], [5, 5, 3, 3, 3, 1]),
        (Transcriber(PAPER.transcriber, bands=80), [64, 32, 32, 32, 32, 16], [5, 5, 3, 3, 3, 3]),
    ],
)
def test_channels_and_kernels_are_the_papers(network, channels, kernels):
    blocks = list(network.convolutions)
    assert [block.convolution.out_channels for block in blocks] == channels
    assert [block.convolution.kernel_size for block in blocks] == [(kernel, kernel) for kernel in kernels]
    assert blocks[0].norm.num_features == 2


def test_the_recurrent_blocks_are_the_papers():
    pitch, transcriber = PitchOnset(PAPER.pitch, bands=80), Transcriber(PAPER.transcriber, bands=80)
    assert len(pitch.recurrence) == 1
    assert pitch.recurrence[0].lstm.input_size == 1 * 80  # C'F of §3.1.1
    assert [block.lstm.hidden_size for block in transcriber.recurrence] == [512, 512, 512]
    assert transcriber.recurrence[0].lstm.input_size == 16 * 40 + 129 + 1
    assert all(block.lstm.bidirectional for block in (*pitch.recurrence, *transcriber.recurrence))
    assert {block.dropout.p for block in transcriber.recurrence} == {0.2}
    assert pitch.recurrence[0].dropout.p == 0


@pytest.mark.parametrize("method", ["baseline", "oracle", "multi-task", "pitch"])
def test_shapes(method):
    model = LyricsModel(small(method)).eval()
    truth = truth_of("la", "so la", "mi")
    estimates = model(waveforms(3), truth=truth.melody())
    frames = SMALL.frames
    if method in ("multi-task", "pitch"):
        assert estimates.pitch.shape == (3, 129, frames)
        assert estimates.onset.shape == (3, 1, frames)
    else:
        assert estimates.pitch is None
    if method == "pitch":
        assert estimates.characters is None
    else:
        assert estimates.characters.shape == (3, 34, frames // 2)


def test_a_residual_block_without_its_convolution_passes_the_normalised_input_on():
    block = ResidualBlock(3, 3, kernel=5, dropout=0.0)
    torch.nn.init.zeros_(block.convolution.weight)
    torch.nn.init.zeros_(block.convolution.bias)
    cells = torch.randn(2, 3, 8, 10)
    variance, mean = torch.var_mean(cells, dim=(2, 3), keepdim=True, correction=0)
    expected = (cells - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(block(cells), expected)
    torch.nn.init.dirac_(block.convolution.weight)  # and one that changes nothing adds what ReLU lets through
    torch.testing.assert_close(block(cells), expected + expected.relu())


def test_windows_do_not_depend_on_their_neighbours():
    model = LyricsModel(small("multi-task")).eval()
    batch = waveforms(3)
    together, alone = model(batch).characters, model(batch[1:2]).characters
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


def test_what_the_methods_tell_the_transcriber():
    """The baseline ignores the notes, the oracle hears them, and multi-task tells its own beliefs."""
    other = truth_of("la", "la").melody()
    changed = Melody(other.pitch.roll(7, dims=2), other.onset.roll(7, dims=2))
    for method, differs in (("baseline", False), ("oracle", True), ("multi-task", False)):
        model = LyricsModel(small(method)).eval()
        first, second = (model(waveforms(2), truth=melody).characters for melody in (other, changed))
        assert torch.equal(first, second) != differs, method
    with pytest.raises(ValueError, match="no notes were given"):
        LyricsModel(small("oracle"))(waveforms(1))


def test_speech_is_told_zeros():
    model = LyricsModel(small("multi-task")).eval()
    batch = waveforms(2)
    estimates = model(batch, sung=torch.tensor([True, False]))
    log_mel = model.log_mel(batch)
    zeros = Melody(torch.zeros(2, 129, SMALL.frames), torch.zeros(2, 1, SMALL.frames))
    silent = model.transcriber(log_mel, zeros)
    torch.testing.assert_close(estimates.characters[1], silent[1])
    assert not torch.allclose(estimates.characters[0], silent[0])


def test_what_is_heard_is_halved_by_its_highest_cells():
    """§3.1.2: a max pooling in two dimensions."""
    model = LyricsModel(small("baseline")).eval()
    given = []
    model.transcriber.recurrence.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model(waveforms(1))
    cells = model.transcriber.convolutions(model.log_mel(waveforms(1)))
    highest = cells.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax(dim=(3, 5)).flatten(1, 2).transpose(1, 2)
    torch.testing.assert_close(given[0][:, :, : -(129 + 1)], highest)


def test_every_onset_reaches_the_halved_frames():
    """Max pooling keeps an onset in an odd frame, which taking each second frame would lose."""
    model = LyricsModel(small("oracle")).eval()
    told = []
    model.transcriber.recurrence.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0]))
    onset = torch.zeros(1, 1, SMALL.frames)
    onset[0, 0, [6, 13]] = 1
    model(waveforms(1), truth=Melody(torch.zeros(1, 129, SMALL.frames), onset))
    assert told[0][0, :, -1].nonzero().flatten().tolist() == [3, 6]
    assert told[0][0, [3, 6], -1].tolist() == [1, 1]  # a mean with the frame beside it would halve them


@pytest.mark.parametrize("method", ["baseline", "oracle", "multi-task", "pitch"])
def test_every_weight_has_a_gradient(method):
    torch.manual_seed(0)
    model = LyricsModel(small(method))
    truth = truth_of("la", "so")
    joint_loss(model(waveforms(2), truth=truth.melody()), truth, config=LyricsLossConfig())["loss"].backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A bias before an instance norm moves nothing; the norm takes it away again.
    assert [name for name in without if not name.endswith("bias")] == []


def test_the_transcribers_gradient_reaches_the_first_network():
    """§3.1.3: both are trained jointly, so the lyrics' loss alone moves the pitch network."""
    model = LyricsModel(small("multi-task"))
    truth = truth_of("la", "so")
    joint_loss(model(waveforms(2)), truth, config=LyricsLossConfig())["lyrics"].backward()
    for part in model.pitch_onset.output.weight.grad.split([129, 1]):  # by the pitch, and by the onset
        assert part.abs().sum() > 0


def test_the_transcriber_is_told_probabilities():
    """Eq. 4 and 5."""
    model = LyricsModel(small("multi-task")).eval()
    told = []
    model.transcriber.register_forward_pre_hook(lambda _, inputs: told.append(inputs[1]))
    estimates = model(waveforms(2))
    torch.testing.assert_close(told[0].pitch, estimates.pitch.exp() / estimates.pitch.exp().sum(dim=1, keepdim=True))
    torch.testing.assert_close(told[0].onset, 1 / (1 + (-estimates.onset).exp()))


def test_the_loss_of_a_model_that_knows_nothing():
    """Logits of 0: ln 129 for the pitch, ln 2 for an onset with its weight, and all paths alike for CTC."""
    frames = SMALL.frames
    estimates = Estimates(torch.zeros(1, 129, frames), torch.zeros(1, 1, frames), torch.zeros(1, CLASSES, 4))
    parts = joint_loss(estimates, truth_of("la"), config=LyricsLossConfig(onset_frame=20.0))
    assert float(parts["pitch"]) == pytest.approx(math.log(129), rel=1e-5)
    assert float(parts["onset"]) == pytest.approx(math.log(2) * (frames - 2 + 2 * 20) / frames, rel=1e-5)
    # "la" in 4 frames: blank, l, blank, a, blank last 0 or more frames each, the letters at least one. C(4 + 2, 2 * 2)
    # = 15 of 34^4 paths stand for it. CTC's mean is per character.
    assert float(parts["lyrics"]) == pytest.approx((4 * math.log(34) - math.log(15)) / 2, rel=1e-5)
    assert float(parts["loss"]) == pytest.approx(sum(float(parts[name]) for name in ("pitch", "onset", "lyrics")))
    weights = LyricsLossConfig(pitch=2.0, onset=3.0, lyrics=0.5, onset_frame=20.0)
    weighed = 2 * float(parts["pitch"]) + 3 * float(parts["onset"]) + 0.5 * float(parts["lyrics"])
    assert float(joint_loss(estimates, truth_of("la"), config=weights)["loss"]) == pytest.approx(weighed)


def test_a_window_without_words_weighs_as_a_frame():
    """Its one text is of blanks alone: 4 ln 34, divided by its 4 frames, and not by its characters."""
    estimates = Estimates(None, None, torch.zeros(2, CLASSES, 4, requires_grad=True))
    parts = joint_loss(estimates, truth_of("la", ""), config=LyricsLossConfig())
    assert parts["lyrics"].item() == pytest.approx(((4 * math.log(34) - math.log(15)) / 2 + math.log(34)) / 2, rel=1e-5)
    parts["loss"].backward()
    assert estimates.characters.grad[1, BLANK].max() < 0 < estimates.characters.grad[1, 1:].min()
    alone = joint_loss(Estimates(None, None, torch.zeros(1, CLASSES, 4)), truth_of(""), config=LyricsLossConfig())
    assert float(alone["lyrics"]) == pytest.approx(math.log(34), rel=1e-5)


def test_speech_has_no_loss_of_notes():
    model = LyricsModel(small("multi-task"))
    truth = truth_of("la", "so", sung=(True, False))
    estimates = model(waveforms(2), sung=truth.sung)
    alone = joint_loss(
        Estimates(estimates.pitch[:1], estimates.onset[:1], None), truth_of("la"), config=LyricsLossConfig()
    )
    parts = joint_loss(estimates, truth, config=LyricsLossConfig())
    assert parts["pitch"].item() == pytest.approx(alone["pitch"].item(), rel=1e-6)
    speech = joint_loss(estimates, truth_of("la", "so", sung=(False, False)), config=LyricsLossConfig())
    assert speech["pitch"].item() == 0 == speech["onset"].item()


def test_a_text_longer_than_its_window_does_not_end_the_run():
    model = LyricsModel(small("baseline"))
    truth = truth_of("la " * 30 + "la", "so")
    loss = joint_loss(model(waveforms(2)), truth, config=LyricsLossConfig())["loss"]
    assert math.isfinite(loss.item())


@pytest.mark.parametrize("method", ["baseline", "multi-task"])
def test_it_learns_two_windows_by_heart(method):
    torch.manual_seed(1)
    model = LyricsModel(small(method))
    batch, truth = waveforms(2, seed=3), truth_of("love me", "go on")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        joint_loss(model(batch), truth, config=LyricsLossConfig())["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    estimates = model.eval()(batch)
    said = [decode(collapse(path)) for path in estimates.characters.argmax(dim=1).tolist()]
    assert said == ["love me", "go on"]
    if method == "multi-task":
        assert (estimates.pitch.argmax(dim=1) == truth.pitch).float().mean() > 0.95
        assert ((estimates.onset[:, 0] > 0) == (truth.onset > 0)).all()


def test_the_alphabet():
    assert CLASSES == 34 == len(CHARACTERS) + 1  # V of §3.1.2
    assert len(set(CHARACTERS)) == 33
    assert decode(encode("don't go")) == "don't go"
    assert BLANK not in encode(CHARACTERS)
    with pytest.raises(ValueError, match="'é'"):
        encode("café")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Don\u2019t STOP!", "don't stop"),
        ("'Cause  I'm\n\ncafé-bound", "cause i'm cafe bound"),
        ("99 times, (oh)", "times oh"),
        ("—", ""),
        ("naïve Renée", "naive renee"),
        ("WEIẞ, weiß: cœur, SÆL, Łódź", "weiss weiss coeur sael lodz"),
        ("Đời þú, ðe smørħ ŧ \u01fd kap\u0131", "doi thu de smorh t ae kapi"),
    ],
)
def test_plain_text(text, plain):
    assert plain_text(text) == plain


def test_collapse_is_ctcs():
    a, b = encode("ab")
    assert collapse([BLANK, a, a, BLANK, a, b, b, BLANK]) == [a, a, b]
    assert collapse([a, a]) == [a]
    assert collapse([]) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.method=choir"], "expected one of baseline, oracle"),
        (["model.pitch.kernels=[5, 4, 3, 3, 3, 1]"], "odd numbers"),
        (["model.pitch.kernels=[5]"], "6 channels and 1 kernels"),
        (["model.transcriber.dropout=1"], "0 to below 1"),
        (["model.frontend.n_mels=81"], "even"),
        (["model.frontend.window_s=16.016"], "1001 frames of 80 bands; expected even"),
        (["model.frontend.f_max_hz=9000"], "f_max_hz"),
        (["model.pitch.hidden=0"], "size below 1"),
        (["optim.patience=0"], "1 or more"),
        (["optim.learning_rate=0"], "must be above 0"),
        (["optim.clip_norm=0"], "must be above 0"),
        (["loss.pitch=-1"], "negative"),
        (["loss.onset_frame=0"], "onset_frame above 0"),
        (["model.pitchh.hidden=3"], "pitchh"),
    ],
)
def test_a_wrong_setting_is_one_sentence(overrides, message):
    with pytest.raises(ConfigError, match=message):
        LyricsConfig.with_overrides(overrides)


def test_settings_come_back():
    config = LyricsConfig.with_overrides(["model.method=oracle", "model.transcriber.hidden=64", "start=runs/speech"])
    assert config.model.transcriber.channels == PAPER.transcriber.channels
    assert LyricsConfig.from_dict(config.to_dict()) == config


def test_a_log_mel_per_channel():
    model = LyricsModel(small("baseline"))
    batch = waveforms(2)
    swapped = model.log_mel(batch.flip(1))
    np.testing.assert_array_equal(model.log_mel(batch).flip(1).numpy(), swapped.numpy())
    louder = model.log_mel(batch * torch.tensor([1.0, 0.5])[None, :, None])
    torch.testing.assert_close(louder, model.log_mel(batch), atol=1e-4, rtol=0)
