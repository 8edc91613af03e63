"""Launcher that runs trials on a Ray cluster.

hydra-ray-launcher 1.2.2 needs boto3, whose dependencies conflict with those of this project
(python-dateutil below 3), and all of ray[default]. This launcher only needs ray.
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

_ENVIRONMENT = ("MSDN_", "OMP_", "WANDB_")  # variables that configs and thread pools read


class RayLauncher(Launcher):
    """Runs each job as a Ray task.

    A task receives overrides and paths, so all nodes must have the same files at the same paths.

    Args:
        init: Arguments of `ray.init`, such as the address of the cluster.
        remote: Arguments of `ray.remote`: resources of a job, and how often it is repeated if its
            process dies.
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self.init: Any = OmegaConf.to_container(init, resolve=True)
        self.remote: Any = OmegaConf.to_container(remote, resolve=True)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Stores what every job needs."""
        self.shipped = (hydra_context, task_function, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs a batch and waits for all jobs. A job whose process died too often has no return."""
        import ray
        from ray._private.node import Node

        from msdn_lit.training.process import disable_telemetry

        disable_telemetry()
        if not self.init.get("include_dashboard"):
            # Without the dashboard, its process has one purpose: usage statistics. It asks the
            # metadata addresses of clouds, even if the statistics are disabled.
            setattr(Node, "start_api_server", lambda self, **_: None)  # noqa: B010 - for mypy
        if not ray.is_initialized():
            ray.init(**self.init)
        shipped = ray.put((self.shipped, os.getcwd(), _environment(), Singleton.get_state()))
        job = ray.remote(**self.remote)(_run)
        tasks = [
            job.remote(shipped, list(overrides), index)
            for index, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        returns = []
        for task in tasks:
            try:
                returns.append(ray.get(task))
            except ray.exceptions.RayError as error:
                print(f"A worker died: {error}".splitlines()[0], flush=True)
        return returns


def _environment() -> dict[str, str]:
    """Returns the environment variables that a node of the cluster does not have."""
    return {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}


def _run(shipped: Any, overrides: list[str], index: int) -> JobReturn:  # noqa: ANN401 - Hydra's
    """Composes and runs one job, in a worker that runs several."""
    (context, task, config), directory, environment, state = shipped
    os.chdir(directory)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id = f"{job.hydra.job.name}_{index}"
        job.hydra.job.num = index
    HydraConfig.instance().set_config(job)
    return run_job(task, job, "hydra.sweep.dir", "hydra.sweep.subdir", context)
