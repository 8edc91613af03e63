"""Trials on a Ray cluster.

hydra-ray-launcher 1.2.2 needs boto3, whose dependencies do not go with this project's (python-dateutil below 3), and
the whole of ray[default]; this launcher needs ray alone.
"""

import os
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


class RayLauncher(Launcher):
    """Each job is a Ray task; what is shipped are overrides and paths, so nodes see the same files at the same paths.

    Args:
        init: Arguments of ray.init: the cluster's address.
        remote: Arguments of ray.remote: what a job needs, and how often it is repeated when its process dies.
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        plain: Any = [OmegaConf.to_container(part, resolve=True) for part in (init, remote)]
        self.init, self.remote = plain

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Takes what every job needs."""
        self.shipped = (hydra_context, task_function, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs a batch and waits for all of it; a job whose process died too often has no return."""
        import ray

        os.environ.setdefault(
            "RAY_USAGE_STATS_ENABLED", "0"
        )  # a cluster that starts here reports to nobody
        if not ray.is_initialized():
            ray.init(**self.init)
        shipped = ray.put((self.shipped, os.getcwd(), _environment(), Singleton.get_state()))
        job = ray.remote(**self.remote)(_run)
        tasks = [
            job.remote(shipped, list(o), index)
            for index, o in enumerate(job_overrides, initial_job_idx)
        ]
        returns = []
        for task in tasks:
            try:
                returns.append(ray.get(task))
            except ray.exceptions.RayError as error:
                print(f"A worker died: {error}".splitlines()[0], flush=True)
        return returns


def _environment() -> dict[str, str]:
    """What a config or a thread pool reads: a node of the cluster has another environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("MSDN_", "OMP_", "WANDB_"))
    }


def _run(shipped: Any, overrides: list[str], index: int) -> JobReturn:  # noqa: ANN401 - Hydra's objects
    """Composes and runs one job, in a worker that serves for many."""
    (context, task, config), directory, environment, state = shipped
    os.chdir(directory)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = f"{job.hydra.job.name}_{index}", index
    HydraConfig.instance().set_config(job)
    return run_job(task, job, "hydra.sweep.dir", "hydra.sweep.subdir", context)
