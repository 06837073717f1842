"""What a training step minimises: the contrastive loss of the recipe, and the losses that help the audio tower.

    (1 - views_share) · contrastive(audio, text) + views_share · NT-Xent(views)
        + label_weight · labels + distil_weight · teacher

(MusCALL eq. 5 mixes the first two; with `loss.directions` "sum" as the paper has them.) Each is of the rows that have
what it needs: a row without captions takes no part in the first, one without labels, of which nothing is known, none in
that on labels. The heads in here belong to training alone and stay out of the model. A loss of the text tower alone,
words_weight · words, is in `train.word_memory`.
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
    """Loss of a whole batch from what the towers made of it.

    Args:
        rows: the training rows, whose labels the label head learns.
        width: of the audio tower's features.
        teacher_tags: how many tags the teacher has; with `distil_weight`.

    Raises:
        ConfigError: a loss on labels, but no row has any.
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
            features: float [n, width], the audio tower's.
            audio, text: float32 [n, dim], unit L2 norm; None with loss.name "labels".
            views: float [n, 2, width], its features of two augmented views of each recording; with `views_share`.
            places: int64 [n], each pair's row.
            captioned: bool [n], whether it has a caption; what stands in `text` and `sentences` for others is not used.
            sentences: float32 [n, any], unit L2 norm, the captions' vectors; with weighted_info_nce.
            temperature: positive scalar.
            targets: float32 [n, teacher_tags], the teacher's standardised logits; with `distil_weight`.
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
        if len(audio) < 2:  # nothing to tell a pair from
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
    """Audio features -> a logit for each label of the training rows; those without any are left out."""

    targets: Tensor

    def __init__(self, rows: Sequence[Row], *, width: int) -> None:
        names = sorted({label for row in rows for label in row.labels})
        if not names:
            raise ConfigError("loss.label_weight asks for labels, but no training row has any; set it to 0")
        super().__init__(width, len(names))
        self.names = names
        targets = torch.from_numpy(read_targets(rows, single=False, names=names).relevant)
        self.register_buffer("targets", targets, persistent=False)
        with torch.no_grad():  # start at how common a label is, or the first steps teach nothing but that
            self.bias.copy_(torch.logit(targets[targets.any(dim=1)].float().mean(dim=0), eps=1e-4))

    def loss(self, features: Tensor, places: Tensor) -> Tensor:
        """`label_loss` of those of the rows `places` that have labels, from their features, float [n, width]."""
        targets = self.targets[places]
        labelled = targets.any(dim=1)
        logits: Tensor = self(features)
        if not labelled.any():
            return 0.0 * logits.sum()
        return label_loss(logits[labelled], targets[labelled].float())

    @torch.no_grad()
    def metrics(self, features: NDArray[np.float32], rows: Sequence[Row]) -> dict[str, float]:
        """mAP and ROC-AUC over the labels that some of `rows` have and some have not; features float [n, width].

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
    """Audio features -> a teacher's logits, each standardised over the training windows.

    The loss is their mean squared error. Cross-entropy on the teacher's probabilities, the other usual choice, is led
    by the few tags that it is sure of: most of a tagger's probabilities are near 0, where the gradient no longer tells
    a tag that might fit from one that cannot. Matching logits is what that loss becomes at a high temperature (Hinton
    et al. 2015, §2.1), and Ba & Caruana (2014, §2.2) found it to teach a student more. To standardise them gives each
    tag the same say, however rare.
    """

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean over the tags of the rows that the teacher has heard.

        Args:
            features: float [n, width].
            targets: float32 [n, tags]; NaN in rows that it has not heard.
        """
        heard = targets.isfinite().all(dim=1)
        logits: Tensor = self(features)
        if not heard.any():
            return 0.0 * logits.sum()
        return F.mse_loss(logits[heard], targets[heard])


def _view_head(width: int, dim: int) -> nn.Sequential:
    """SimCLR's two-layer projection (Chen et al. 2020, §4.2)."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))
