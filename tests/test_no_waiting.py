"""Training steps never wait for the device.

The device is PyTorch's "meta", whose tensors have no values: whatever would bring one to the host,
like .item(), .cpu(), .numpy() or bool(), raises an error there, and on a GPU waits for it.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from msdn_lit.build import training as build
from msdn_lit.callbacks import Preemption
from msdn_lit.data.feature_cache import gather_from_gpu, to_device
from msdn_lit.data.features.store import FeatureStore
from msdn_lit.errors import ConfigError, Interrupted
from tests import miniature
from tests.helpers import PulledPlug, PullPlug

META = torch.device("meta")
EXPERTS = ("coarse_region", "coarse_channel", "fine_region", "fine_channel")
METHODS = [
    [],
    ["loss=msdn_paper", "optimizer=adam", "scheduler=cosine"],
    ["model=transzero_pp", "loss=transzero_pp"],
    ["model=dedn", "loss=dedn", *(f"+prediction.fusion.{name}=0.25" for name in EXPERTS)],
    ["loss=counterfactual", "loss.intervention=random"],
    ["model=pooled", "loss=ale", "sampler=class_balanced"],
    ["protocol.seeds_in_parallel=2"],
]


class MetaAccelerator(CPUAccelerator):
    def setup_device(self, device):
        pass


class OnMeta(SingleDeviceStrategy):
    """A device whose tensors refuse to come to the host."""

    def __init__(self):
        super().__init__(META, accelerator=MetaAccelerator())

    def teardown(self):
        """Leaves the module there: Lightning would bring it back."""


@pytest.fixture
def on_meta(monkeypatch):
    """Lets trainers train on the device without values."""
    original = build.trainer

    def trainer(cfg, callbacks, loggers):
        made = original(cfg, callbacks, loggers)
        return Trainer(
            strategy=OnMeta(),
            callbacks=[*callbacks, PullPlug(4)],
            logger=loggers,
            max_steps=made.max_steps,
            max_epochs=-1,
            val_check_interval=12,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=1000,
            use_distributed_sampler=False,
            enable_model_summary=False,
        )

    monkeypatch.setattr(build, "trainer", trainer)
    for loop in ("fit_loop", "evaluation_loop"):  # Lightning asks once, before the first step
        name = f"lightning.pytorch.loops.{loop}.has_len_all_ranks"
        monkeypatch.setattr(name, lambda *_: True)


@pytest.mark.parametrize("overrides", METHODS)
def test_no_step_brings_a_tensor_to_the_host(mini_config, on_meta, store_dir, overrides):
    made = build.training(mini_config(*overrides))
    data = made.data
    data.trainer = made.trainer
    data.chosen_cache = "gpu"
    rows = np.arange(miniature.N)
    on_device = gather_from_gpu(FeatureStore(store_dir), rows, torch.device("cpu"))(rows).to(META)
    data._gather = lambda rows: on_device[to_device(torch.from_numpy(rows), META)]
    with pytest.raises(PulledPlug):
        made.trainer.fit(made.module, data)
    assert made.trainer.global_step == 4


def test_the_device_refuses():
    tensor = torch.ones(1, device=META)
    for bring in (Tensor.item, Tensor.cpu, Tensor.numpy, bool, float, Tensor.tolist):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            bring(tensor)


class TestSignals:
    """Several processes ask one another only now and then."""

    def ending(self, received_at, every):
        """Returns the steps at which processes ask, and the step that ends."""
        asked, saved = [], []

        def ask(decision, all):
            asked.append(trainer.global_step)
            return decision

        strategy = SimpleNamespace(reduce_boolean_decision=ask)
        trainer = SimpleNamespace(world_size=2, strategy=strategy, global_step=0)
        trainer.save_checkpoint = lambda path, weights_only: saved.append(trainer.global_step)
        callback = Preemption("last.ckpt", every_n_steps=every)
        with pytest.raises(Interrupted, match="143"):
            for step in range(1, 100):
                trainer.global_step = step
                if step == received_at:
                    callback.received = 15
                callback.on_train_batch_end(trainer)
        return asked, saved

    def test_they_end_at_the_next_question(self):
        assert self.ending(13, 10) == ([10, 20], [20])
        assert self.ending(20, 10) == ([10, 20], [20])
        assert self.ending(3, 1) == ([1, 2, 3], [3])

    def test_the_number_of_steps_is_a_setting(self, load_config):
        assert load_config().callbacks.preemption.every_n_steps == 10
        with pytest.raises(ConfigError, match="every_n_steps is wrong: expected a whole number"):
            Preemption("last.ckpt", every_n_steps=0)
