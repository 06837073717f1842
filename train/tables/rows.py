"""The recipe and settings of each row of a table, at the papers' sizes or at sizes for two CPU cores."""

from collections.abc import Mapping
from dataclasses import dataclass

from train.config import Config, load_recipe

BUDGETS = ("small", "full")


@dataclass(frozen=True)
class Variant:
    """A recipe and its overrides.

    Attributes:
        recipe: name of the recipe.
        settings: "key=value" overrides.
        window_share: share of the recipe's window length that the model uses.
        unfiltered: train on the texts from before MuLan's filters.
    """

    recipe: str
    settings: tuple[str, ...] = ()
    window_share: float = 1.0
    unfiltered: bool = False


WITHOUT_WEIGHTS = ("loss.name=info_nce",)
WITHOUT_CROPS = ("data.random_crops=false",)
WITHOUT_AUGMENTATION = ("augment.noise=0", "augment.pitch_shift=0")
WITHOUT_ATTENTION = ("model.audio.pooling=mean",)

MUSCALL = Variant("muscall")
MUSCALL_SSL = Variant("muscall_ssl")
PLAIN = Variant("muscall", WITHOUT_WEIGHTS)
MULAN_AST, MULAN_RESNET = Variant("mulan_ast"), Variant("mulan_resnet")
BY_TEXT = {
    "ASET + SF + LF": Variant("mulan_resnet", ("data.mixture={labels: 1, short_form: 2, long_form: 2}",)),
    "ASET + SF": Variant("mulan_resnet", ("data.mixture={labels: 1, short_form: 2}",)),
    "ASET": Variant("mulan_resnet", ("data.mixture={labels: 1}",)),
    "SF/LF unfiltered": Variant("mulan_resnet", unfiltered=True),
}
DEPTHS = (1, 2, 4, 8)
LENGTHS = {"a quarter of the audio": 0.25, "half of the audio": 0.5}


def _depth(layers: int) -> Variant:
    return MUSCALL if layers == 4 else Variant("muscall", (f"model.text.layers={layers}",))


ROWS: Mapping[str, Mapping[str, Variant]] = {
    "muscall-1": {"DCASE": Variant("dcase"), "DCASE + CL": Variant("dcase_cl"), "MusCALL": MUSCALL},
    "muscall-2": {"MusCALL": MUSCALL, "MusCALL + SSL": MUSCALL_SSL},
    "muscall-3": {"MusCALL": MUSCALL},
    "muscall-4": {
        "without weights, crops, augmentation": Variant(
            "muscall", (*WITHOUT_WEIGHTS, *WITHOUT_CROPS, *WITHOUT_AUGMENTATION)
        ),
        "without weights, crops": Variant("muscall", (*WITHOUT_WEIGHTS, *WITHOUT_CROPS)),
        "without weights, attention pooling": Variant("muscall", (*WITHOUT_WEIGHTS, *WITHOUT_ATTENTION)),
        "without weights, augmentation": Variant("muscall", (*WITHOUT_WEIGHTS, *WITHOUT_AUGMENTATION)),
        "without weights": PLAIN,
        "MusCALL": MUSCALL,
    },
    "muscall-fig3": {
        **{f"text depth {layers}": _depth(layers) for layers in DEPTHS if layers != 4},
        "MusCALL": MUSCALL,  # four layers, all of the audio, attention
        **{name: Variant("muscall", window_share=share) for name, share in LENGTHS.items()},
        "all of the audio, mean pooling": Variant("muscall", WITHOUT_ATTENTION),
        **{
            f"{name}, mean pooling": Variant("muscall", WITHOUT_ATTENTION, window_share=share)
            for name, share in LENGTHS.items()
        },
    },
    "muscall-fig4": {"MusCALL": MUSCALL, "without weights": PLAIN},
    "mulan-4a": {"M-AST": MULAN_AST, "M-Resnet-50": MULAN_RESNET},
    "mulan-4b": {"M-Resnet-50": MULAN_RESNET, **BY_TEXT},
    "mulan-4c": {"M-AST": MULAN_AST, "M-Resnet-50": MULAN_RESNET},
    "mulan-5": {"M-AST": MULAN_AST, "M-Resnet-50": MULAN_RESNET, **BY_TEXT},
    "mulan-6": {"M-AST": MULAN_AST, "M-Resnet-50": MULAN_RESNET, **BY_TEXT},
}
"""Table -> label -> variant. Equal variants have the same label in every table and share one run."""

SMALL = (
    *("model.frontend.window_s=8", "optim.epochs=12", "optim.batch_size=64", "optim.precision=fp32"),
    *("optim.schedule=cosine", "optim.warmup_share=0.05"),  # the papers' schedules are for 100 times as many steps
)
SMALL_BY_RECIPE = {  # by the start of the recipe's name
    "dcase": ("model.frontend.n_fft=1024", "model.frontend.hop_samples=800", "model.audio.hidden=64"),
    "muscall": (
        *("model.frontend.n_mels=64", "model.frontend.n_fft=640", "model.frontend.hop_samples=400"),
        *("model.audio.blocks=[1, 1, 1, 1]", "model.text.hidden=256", "model.embedding_dim=256"),
        *("model.text.tokenizer=all-MiniLM-L6-v2", "model.text.vocab_size=30522"),
        *("optim.learning_rate=1e-3", "optim.text_learning_rate=5e-4"),
    ),
    "muscall_ssl": ("model.frontend.window_s=4",),  # half of the other rows' window, as in the paper (§5.2)
    "mulan": (
        *("model.frontend.n_mels=64", "model.frontend.n_fft=640", "model.frontend.hop_samples=400"),
        *("model.frontend.hann_samples=0", "optim.chunk_size=0"),
        *("model.text.init_from=all-MiniLM-L6-v2", "model.text.hidden=384", "model.text.layers=6"),
        *("model.text.feed_forward=1536", "model.text.max_tokens=77"),
        *("optim.epochs=3", "optim.text_learning_rate=1e-4"),  # each track has four rows
    ),
    "mulan_resnet": ("model.audio.width=16", "model.audio.blocks=[1, 1, 1, 1]", "optim.learning_rate=1e-3"),
    "mulan_ast": (
        *("model.audio.init_from=null", "model.audio.hidden=192", "model.audio.layers=4", "model.audio.heads=3"),
        *("model.audio.stride=16", "optim.learning_rate=5e-4"),
    ),
}


def settings_of(variant: Variant, *, budget: str) -> Config:
    """The configuration of a row: "full" has the paper's sizes, "small" trains in minutes on two CPU cores."""
    small: list[str] = []
    if budget == "small":
        few = (settings for name, settings in SMALL_BY_RECIPE.items() if variant.recipe.startswith(name))
        small = [*SMALL, *(setting for settings in few for setting in settings)]
    config = load_recipe(variant.recipe, overrides=[*small, *variant.settings])
    if variant.window_share == 1.0:
        return config
    window_s = variant.window_share * config.model.frontend.window_s
    return load_recipe(variant.recipe, overrides=[*small, *variant.settings, f"model.frontend.window_s={window_s:g}"])
