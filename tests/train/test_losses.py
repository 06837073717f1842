import math
from pathlib import Path

import pytest
import torch

from train.config import LossConfig, load_recipe
from train.data.manifest import Row
from train.losses import cmc, content_weights, info_nce, label_loss, nt_xent, triplet
from train.objective import Objective


def unit_rows(n: int, dim: int, *, seed: int) -> torch.Tensor:
    rows = torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_info_nce_equals_the_sum_written_out():
    audio, text, temperature = unit_rows(5, 7, seed=0), unit_rows(5, 7, seed=1), torch.tensor(0.2, dtype=torch.float64)
    total = 0.0
    for i in range(5):
        own = math.exp(float(audio[i] @ text[i]) / 0.2)
        total -= math.log(own / sum(math.exp(float(audio[i] @ text[j]) / 0.2) for j in range(5)))
        total -= math.log(own / sum(math.exp(float(audio[j] @ text[i]) / 0.2) for j in range(5)))
    assert math.isclose(float(info_nce(audio, text, temperature=temperature)), total / 10, rel_tol=1e-12)


def test_info_nce_of_a_collapsed_model_is_log_n():
    same = unit_rows(1, 4, seed=0).expand(6, 4)
    loss = info_nce(same, same, temperature=torch.tensor(0.07, dtype=torch.float64))
    assert math.isclose(float(loss), math.log(6), rel_tol=1e-12)


def test_info_nce_is_symmetric():
    audio, text, temperature = unit_rows(4, 3, seed=2), unit_rows(4, 3, seed=3), torch.tensor(0.1, dtype=torch.float64)
    torch.testing.assert_close(
        info_nce(audio, text, temperature=temperature), info_nce(text, audio, temperature=temperature)
    )


def test_info_nce_gradient():
    audio, text = unit_rows(4, 3, seed=4).requires_grad_(), unit_rows(4, 3, seed=5).requires_grad_()
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, t, tau: info_nce(a, t, temperature=tau), (audio, text, temperature))


def test_label_loss_equals_the_sum_written_out():
    logits = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
    total = 0.0
    for logit, target in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        probability = 1 / (1 + math.exp(-logit))
        total -= math.log(probability if target else 1 - probability)
    assert math.isclose(float(label_loss(logits, targets)), total / 3, rel_tol=1e-12)


def test_weighted_info_nce_weighs_each_pair():
    audio, text, temperature = unit_rows(4, 6, seed=4), unit_rows(4, 6, seed=5), torch.tensor(0.3, dtype=torch.float64)
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    total = 0.0
    for i, weight in enumerate(weights.tolist()):
        own = math.exp(float(audio[i] @ text[i]) / 0.3)
        to_text = own / sum(math.exp(float(audio[i] @ text[j]) / 0.3) for j in range(4))
        to_audio = own / sum(math.exp(float(audio[j] @ text[i]) / 0.3) for j in range(4))
        total -= weight * (math.log(to_text) + math.log(to_audio)) / 2
    loss = info_nce(audio, text, temperature=temperature, weights=weights)
    assert math.isclose(float(loss), total / 4, rel_tol=1e-12)
    plain = info_nce(audio, text, temperature=temperature)
    ones = torch.ones(4, dtype=torch.float64)
    assert math.isclose(
        float(info_nce(audio, text, temperature=temperature, weights=ones)), float(plain), rel_tol=1e-12
    )


@pytest.mark.parametrize("normalised", [False, True])
def test_content_weights_equal_the_sum_written_out(normalised: bool):
    sentences, kappa = unit_rows(5, 3, seed=6).abs(), 0.2
    if normalised:
        shared = [sum(float(sentences[i] @ sentences[j]) for j in range(5) if j != i) for i in range(5)]
        shared = [value / sum(shared) for value in shared]
    else:  # MusCALL eq. 3: over all of the batch, itself included
        shared = [sum(float(sentences[i] @ sentences[j]) for j in range(5)) / 5 for i in range(5)]
    expected = [math.exp(value / kappa) for value in shared]
    expected = [value * 5 / sum(expected) for value in expected]
    torch.testing.assert_close(
        content_weights(sentences, kappa=kappa, normalised=normalised), torch.tensor(expected, dtype=torch.float64)
    )


def test_content_weights_are_within_float32_at_the_papers_kappa():
    """exp(0.9 / 0.005), as eq. 3 has it, is not."""
    sentences = torch.nn.functional.normalize(3 + unit_rows(8, 16, seed=20), dim=-1)
    assert (sentences @ sentences.T).mean() > 0.9
    exact = content_weights(sentences, kappa=0.005, normalised=False)
    weights = content_weights(sentences.float(), kappa=0.005, normalised=False)
    torch.testing.assert_close(weights.double(), exact, rtol=1e-3, atol=1e-6)
    assert math.isclose(float(exact.mean()), 1, rel_tol=1e-12)


def test_content_weights_prefer_the_caption_that_is_like_the_others():
    sentences = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    first, second, odd = content_weights(sentences, kappa=0.01).tolist()
    assert first == second > 1 > odd


def test_nt_xent_equals_the_sum_written_out():
    first, second = unit_rows(4, 5, seed=7), unit_rows(4, 5, seed=8)
    views = torch.cat([first, second])
    total = 0.0
    for i in range(8):
        exps = [math.exp(float(views[i] @ views[j]) / 0.5) for j in range(8)]
        total -= math.log(exps[(i + 4) % 8] / (sum(exps) - exps[i]))
    assert math.isclose(float(nt_xent(first, second, temperature=0.5)), total / 8, rel_tol=1e-12)


def test_cmc_equals_the_sum_written_out():
    audio, text, temperature = unit_rows(5, 4, seed=9), unit_rows(5, 4, seed=10), torch.tensor(0.1, dtype=torch.float64)

    def h(i: int, j: int) -> float:
        return math.exp(float(audio[i] @ text[j]) / 0.1)

    total = sum(-math.log(h(i, i) / sum(h(i, j) + h(j, i) for j in range(5) if j != i)) for i in range(5))
    assert math.isclose(float(cmc(audio, text, temperature=temperature)), total / 5, rel_tol=1e-12)


def test_triplet_equals_the_sum_written_out():
    audio, text = unit_rows(5, 3, seed=11), unit_rows(5, 3, seed=12)
    hinges = []
    for i in range(5):
        own = float(audio[i] @ text[i])
        for j in set(range(5)) - {i}:
            hinges.append(max(0.0, 0.4 + float(audio[i] @ text[j]) - own))
            hinges.append(max(0.0, 0.4 + float(audio[j] @ text[i]) - own))
    assert 0 < sum(hinge == 0 for hinge in hinges) < len(hinges)
    assert math.isclose(float(triplet(audio, text, margin=0.4)), sum(hinges) / 40, rel_tol=1e-12)


def test_losses_of_a_collapsed_model():
    same, temperature = unit_rows(1, 4, seed=0).expand(6, 4), torch.tensor(0.07, dtype=torch.float64)
    assert math.isclose(float(nt_xent(same, same, temperature=0.5)), math.log(11), rel_tol=1e-12)
    assert math.isclose(float(cmc(same, same, temperature=temperature)), math.log(10), rel_tol=1e-12)
    assert math.isclose(float(triplet(same, same, margin=0.4)), 0.4, rel_tol=1e-12)


def test_the_label_loss_has_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randint(2, (3, 4), generator=generator).double()
    assert torch.autograd.gradcheck(lambda x: label_loss(x, targets), (logits,))


def test_views_are_mixed_in_by_their_share():
    torch.manual_seed(0)
    config = LossConfig(views_share=0.3, views_temperature=0.5, label_weight=0.2)
    rows = [Row(Path("a.flac"), ("a",), str(i), "train", labels=(("jazz", "techno")[i % 2],)) for i in range(4)]
    objective = Objective(config, rows=rows, width=6)
    audio, text = unit_rows(4, 5, seed=15).float(), unit_rows(4, 5, seed=16).float()
    features, views, temperature = torch.randn(4, 6), torch.randn(4, 2, 6), torch.tensor(0.2)
    places = torch.tensor([2, 0, 3, 1])
    total = objective(
        features,
        audio=audio,
        text=text,
        views=views,
        places=places,
        captioned=torch.ones(4, dtype=torch.bool),
        sentences=None,
        temperature=temperature,
    )

    first, second = (torch.nn.functional.normalize(objective.views(views[:, i]), dim=-1) for i in (0, 1))
    contrastive, shared = info_nce(audio, text, temperature=temperature), nt_xent(first, second, temperature=0.5)
    labels = label_loss(objective.labels(features), torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
    assert abs(contrastive - shared) > 0.1  # or the shares could be swapped
    torch.testing.assert_close(total, 0.7 * contrastive + 0.3 * shared + 0.2 * labels, atol=1e-6, rtol=1e-6)


def test_muscall_ssl_weighs_its_losses_as_the_paper_does():
    """λ · NT-Xent + (1 - λ)(a→t + t→a), with both directions summed and weighted (MusCALL eq. 2, 4 and 5)."""
    torch.manual_seed(0)
    config = load_recipe("muscall_ssl").loss
    objective = Objective(config, rows=[], width=6)
    audio, text, sentences = (unit_rows(4, 5, seed=seed).float() for seed in (15, 16, 17))
    sentences = sentences.abs()
    views, temperature = torch.randn(4, 2, 6), torch.tensor(0.2)
    total = objective(
        torch.randn(4, 6),
        audio=audio,
        text=text,
        views=views,
        places=torch.arange(4),
        captioned=torch.ones(4, dtype=torch.bool),
        sentences=sentences,
        temperature=temperature,
    )
    weights = content_weights(sentences, kappa=0.005)
    to_text = -(weights * (audio @ text.T / 0.2).log_softmax(dim=1).diagonal()).mean()
    to_audio = -(weights * (text @ audio.T / 0.2).log_softmax(dim=1).diagonal()).mean()
    first, second = (torch.nn.functional.normalize(objective.views(views[:, i]), dim=-1) for i in (0, 1))
    expected = 0.3 * nt_xent(first, second, temperature=0.5) + 0.7 * (to_text + to_audio)
    torch.testing.assert_close(total, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["info_nce", "weighted_info_nce", "cmc", "triplet"])
def test_rows_without_captions_or_labels_change_nothing_of_those_losses(name: str):
    torch.manual_seed(0)
    labels = (("jazz",), (), ("techno",), ("jazz", "techno"), ())
    rows = [Row(Path("a.flac"), (), str(i), "train", labels=own) for i, own in enumerate(labels)]
    objective = Objective(LossConfig(name=name, label_weight=0.2), rows=rows, width=6)
    audio, text, sentences = (unit_rows(5, 4, seed=seed).float() for seed in (17, 18, 19))
    features, temperature = torch.randn(5, 6), torch.tensor(0.2)

    def loss(which: list[int], captioned: list[bool]) -> torch.Tensor:
        return objective(
            features[which],
            audio=audio[which],
            text=text[which],
            views=None,
            places=torch.tensor(which),
            captioned=torch.tensor(captioned),
            sentences=sentences[which] if name == "weighted_info_nce" else None,
            temperature=temperature,
        )

    whole = loss([0, 1, 2, 3, 4], [True, False, True, True, False])
    torch.testing.assert_close(whole, loss([0, 2, 3], [True] * 3))
    assert not torch.isclose(whole, loss([0, 1, 2, 3, 4], [True] * 5))
    for which in ([1], [1, 4]):  # nothing but such rows
        features.requires_grad_()
        nothing = loss(which, [False] * len(which))
        nothing.backward()
        assert nothing == 0


LOSSES = {
    "info_nce": lambda a, t, tau: info_nce(a, t, temperature=tau),
    "weighted": lambda a, t, tau: info_nce(a, t, temperature=tau, weights=torch.tensor([0.5, 2.0, 1.0]).double()),
    "cmc": lambda a, t, tau: cmc(a, t, temperature=tau),
    "nt_xent": lambda a, t, _: nt_xent(a, t, temperature=0.5),
    "triplet": lambda a, t, _: triplet(a, t, margin=0.4),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name: str):
    audio, text = (unit_rows(3, 4, seed=seed).requires_grad_() for seed in (13, 14))
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name], (audio, text, temperature))
