"""msdn finetune: trains a backbone on the images of the seen classes."""

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command
from msdn_lit.commands.train._training import run_training
from msdn_lit.errors import ConfigError

EXAMPLES = (
    "msdn finetune experiment=finetune/cub init_from=RUN paths.data_dir=DATA",
    "msdn finetune data=cub features=efficientnet_lite2_260 paths.data_dir=DATA",
)


def run(cfg: DictConfig) -> float | None:
    """Trains a backbone on the images of the seen classes and writes its weights.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    if cfg.features.get("train") in (None, "none"):
        problem = f"features.train={cfg.features.get('train')} trains no part of a backbone"
        raise ConfigError(problem, action="Add features.train=last_stage or features.train=all.")
    return run_training(cfg, "msdn finetune")


main = command("finetune", run, EXAMPLES)

if __name__ == "__main__":
    main()
