"""msdn train: trains a model, evaluates it, records the result."""

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command
from msdn_lit.commands.train._training import run_training

EXAMPLES = (
    "msdn train experiment=cub_gzsl seed=3 paths.data_dir=DATA",
    "msdn train -m experiment=cub_gzsl seed=0,1,2 sweep_name=seeds paths.data_dir=DATA",
)


def run(cfg: DictConfig) -> float | None:
    """Trains a model, evaluates it and writes everything about it into a run folder.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    return run_training(cfg, "msdn train")


main = command("train", run, EXAMPLES)

if __name__ == "__main__":
    main()
