"""The training objective: the contrastive loss of the recipe, and the losses that help the audio tower.

    (1 - views_share) · contrastive(audio, text) + views_share · NT-Xent(views)
        + label_weight · labels + distil_weight · teacher

MusCALL eq. 5 mixes the first two; `loss.directions` "sum" gives the paper's form. Each loss uses only the rows that
have the data for it. A row without captions has no part in the contrastive loss. A row without labels has no part in
the label loss, because its labels are unknown.

The heads in this module are only for training and are not saved with the model. One more loss, words_weight · words,
trains only the text tower. It is in `train.word_memory`.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from train.config import ConfigError, LossConfig
from train.data.manifest import Row
from train.evaluate.labels import read_targets, select_defined
from train.evaluate.metrics import mean_average_precision, mean_roc_auc
from train.losses import cmc, content_weights, info_nce, label_loss, nt_xent, triplet


class Objective(nn.Module):
    """Computes the loss of a whole batch from the outputs of the towers.

    Args:
        config: which losses, and their weights.
        rows: the training rows. The label head learns their labels.
        width: width of the audio tower's features.
        teacher_tags: number of tags of the teacher; needed with `distil_weight`.

    Raises:
        ConfigError: `label_weight` asks for a loss on labels, but no row has any.
    """

    def __init__(self, config: LossConfig, *, rows: Sequence[Row], width: int, teacher_tags: int = 0) -> None:
        super().__init__()
        self.config = config
        self.labels = LabelHead(rows, width=width) if config.label_weight else None
        self.views = _view_head(width, config.views_dim) if config.views_share else None
        self.teacher = TeacherHead(width, teacher_tags) if config.distil_weight else None

    def forward(
        self,
        features: Tensor,
        *,
        audio: Tensor | None,
        text: Tensor | None,
        views: Tensor | None,
        places: Tensor,
        captioned: Tensor,
        sentences: Tensor | None,
        temperature: Tensor,
        targets: Tensor | None = None,
    ) -> Tensor:
        """The loss of a whole batch.

        Args:
            features: float [n, width], the audio tower's features.
            audio: float32 [n, dim], unit L2 norm; None with loss.name "labels".
            text: float32 [n, dim], unit L2 norm; None with loss.name "labels".
            views: float [n, 2, width], the audio tower's features of two augmented views of each recording; needed with
                `views_share`.
            places: int64 [n], the row index of each pair.
            captioned: bool [n], whether the row has a caption. Without one, `text` and `sentences` are ignored.
            sentences: float32 [n, any], unit L2 norm, sentence embeddings of the captions; needed with
                weighted_info_nce.
            temperature: positive scalar.
            targets: float32 [n, teacher_tags], the teacher's standardised logits; needed with `distil_weight`.

        Returns:
            A scalar.
        """
        config = self.config
        loss = features.new_zeros((), dtype=torch.float32)
        if audio is not None and text is not None:
            pairs = audio[captioned], text[captioned]
            about = None if sentences is None else sentences[captioned]
            loss = self._contrastive(*pairs, temperature=temperature, sentences=about)
        if self.views is not None and views is not None:
            first, second = F.normalize(self.views(views.float()), dim=-1).unbind(dim=1)
            shared = nt_xent(first, second, temperature=config.views_temperature)
            loss = (1 - config.views_share) * loss + config.views_share * shared
        if self.labels is not None:
            loss = loss + config.label_weight * self.labels.loss(features.float(), places)
        if self.teacher is not None and targets is not None:
            loss = loss + config.distil_weight * self.teacher.loss(features.float(), targets)
        return loss

    def _contrastive(self, audio: Tensor, text: Tensor, *, temperature: Tensor, sentences: Tensor | None) -> Tensor:
        config = self.config
        if len(audio) < 2:  # no negatives
            return 0.0 * (audio.sum() + text.sum())
        if config.name == "cmc":
            return cmc(audio, text, temperature=temperature)
        if config.name == "triplet":
            return triplet(audio, text, margin=config.margin)
        weights = None
        if sentences is not None:
            weights = content_weights(sentences, kappa=config.kappa, normalised=config.normalised_weights)
        mean = info_nce(audio, text, temperature=temperature, weights=weights)
        return 2 * mean if config.directions == "sum" else mean


class LabelHead(nn.Linear):
    """Audio features -> a logit for each label of the training rows. Rows without labels are ignored."""

    targets: Tensor

    def __init__(self, rows: Sequence[Row], *, width: int) -> None:
        names = sorted({label for row in rows for label in row.labels})
        if not names:
            raise ConfigError("loss.label_weight needs labels, but no training row has any; set loss.label_weight to 0")
        super().__init__(width, len(names))
        self.names = names
        targets = torch.from_numpy(read_targets(rows, single=False, names=names).relevant)
        self.register_buffer("targets", targets, persistent=False)
        with torch.no_grad():  # start at each label's frequency; otherwise the first steps learn only that
            self.bias.copy_(torch.logit(targets[targets.any(dim=1)].float().mean(dim=0), eps=1e-4))

    def loss(self, features: Tensor, places: Tensor) -> Tensor:
        """`label_loss` of the rows `places`, without those that have no labels; features float [n, width]."""
        targets = self.targets[places]
        labelled = targets.any(dim=1)
        logits: Tensor = self(features)
        if not labelled.any():
            return 0.0 * logits.sum()
        return label_loss(logits[labelled], targets[labelled].float())

    @torch.no_grad()
    def metrics(self, features: NDArray[np.float32], rows: Sequence[Row]) -> dict[str, float]:
        """mAP and ROC-AUC over the labels that some of `rows` have and others do not; features float [n, width].

        Raises:
            EvaluationError: there is no such label.
        """
        targets = read_targets(rows, single=False, names=self.names)
        defined = select_defined(targets)
        scores = self(torch.from_numpy(features).to(self.weight)).cpu().numpy()[:, defined]
        relevant = targets.relevant[:, defined]
        return {
            "mAP": float(mean_average_precision(scores, relevant=relevant)),
            "ROC-AUC": float(mean_roc_auc(scores, relevant=relevant)),
        }


class TeacherHead(nn.Linear):
    """Audio features -> a teacher's logits, each tag standardised over the training windows.

    The loss is the mean squared error of the logits. The other usual choice is cross-entropy on the teacher's
    probabilities, but the few tags that the teacher is sure of dominate it. Most probabilities of a tagger are near 0.
    There the gradient no longer separates a tag that might fit from a tag that cannot fit. At a high temperature that
    loss becomes matching of logits (Hinton et al. 2015, §2.1), and Ba & Caruana (2014, §2.2) found that a student
    learns more from logits. Standardised logits give each tag the same influence, even a rare one.
    """

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error over the tags of the rows that have targets.

        Args:
            features: float [n, width].
            targets: float32 [n, tags]; NaN in rows without an answer of the teacher.
        """
        heard = targets.isfinite().all(dim=1)
        logits: Tensor = self(features)
        if not heard.any():
            return 0.0 * logits.sum()
        return F.mse_loss(logits[heard], targets[heard])


def _view_head(width: int, dim: int) -> nn.Sequential:
    """SimCLR's two-layer projection (Chen et al. 2020, §4.2)."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))
