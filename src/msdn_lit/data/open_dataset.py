"""Opening a dataset as a library: no config, no trainer."""

from pathlib import Path

from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.dataset import EVAL_SPLITS
from msdn_lit.data.semantics import SemanticsConfig

_LEARNED_DIM = 300  # E of attribute vectors that are learned from scratch


def open_dataset(
    name: str,
    *,
    data_dir: str | Path,
    features: str | Path,
    word_vectors: str | Path | None = None,
    folder: str | Path | None = None,
    train_split: str = "trainval",
    allow_unknown_split: bool = False,
) -> ZSLDataModule:
    """Opens a benchmark with its region features and checks every file.

    Args:
        name: "CUB", "SUN", "AWA2", "APY" or "SYNTHETIC"; any other name for a dataset of your own
            (`folder`).
        data_dir: Folder that holds xlsa17/ and w2v/.
        features: Feature store that `msdn extract` wrote, or a published feature file (.hdf5).
        word_vectors: File of word vectors, relative to `data_dir` or absolute; None takes the
            benchmark's published ones. Attribute vectors of a dataset without word vectors are
            learned from scratch.
        folder: Folder of a dataset of your own (`msdn init-dataset`).
        train_split: "trainval", with the classes of test_unseen as unseen; or "train", with those
            of val as unseen.
        allow_unknown_split: Accept split files that are not a known variant of the benchmark's.

    Returns:
        The dataset, set up: `seen`, `unseen`, `class_attributes`, `batches(...)`, `image(row)`.

    Raises:
        DataError: A file is missing or damaged, or two files do not fit together.
    """
    data = ZSLDataModule(
        benchmark=name,
        data_dir=data_dir,
        store_dir=features,
        semantics=_semantics(name, word_vectors),
        train_split=train_split,
        eval_splits=EVAL_SPLITS.get(train_split, ()),
        allow_unknown_split=allow_unknown_split,
        folder=str(folder) if folder else None,
        val_classes={"fraction": 0.33, "seed": 0} if train_split == "train" else None,
        test_seen={"fraction": 0.2, "seed": 0},
    )
    data.setup()
    return data


def _semantics(name: str, word_vectors: str | Path | None) -> SemanticsConfig:
    benchmark = BENCHMARKS.get(name)
    published = benchmark.word_vectors if benchmark else None
    return SemanticsConfig(
        word_vectors=published if word_vectors is None else str(word_vectors),
        word_vector_dim=_LEARNED_DIM,
        clamp_negative=benchmark.clamp_negative if benchmark else False,
        shuffle_seed=None,
    )
