"""Composes the files of the config groups once for each choice of them, in a process of many tests.

A composition reads some forty YAML files, which takes longer than a training of the miniature
benchmark, and a command composes three times. Settings on the command line do not change which
files are read, so Hydra sets them in a copy of the composed files. Only the configs of this
repository are kept; with a folder of other configs, Hydra reads every file each time.
"""

import dataclasses
import pickle

from hydra._internal import config_loader_impl as loader
from hydra._internal.defaults_list import Overrides
from omegaconf import OmegaConf

from msdn_lit.files import config_dir

_read_lists, _read_files = (
    loader.create_defaults_list,
    loader.ConfigLoaderImpl._compose_config_from_defaults_list,
)
_lists, _configs = {}, {}


def keep_compositions():
    """Makes Hydra keep what it composes."""
    loader.create_defaults_list = _defaults_list
    loader.ConfigLoaderImpl._compose_config_from_defaults_list = _composed


def _is_ours(repo):
    """Whether all configs are those of the repository and of Hydra."""
    known = (str(config_dir()), "hydra.conf", "")
    return all(source.path in known for source in repo.get_sources())


def _defaults_list(repo, config_name, overrides_list, **how):
    if not _is_ours(repo):
        return _read_lists(repo, config_name, overrides_list, **how)
    settings = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
    chosen = [override for override in overrides_list if override not in settings]
    key = config_name, *(override.input_line for override in chosen), *how.items()
    if key not in _lists:
        _lists[key] = _read_lists(repo, config_name, chosen, **how)
    return dataclasses.replace(_lists[key], config_overrides=settings)


def _composed(self, defaults, repo):
    if not _is_ours(repo):
        return _read_files(self, defaults, repo)
    key = tuple(map(dataclasses.astuple, defaults))
    if key not in _configs:
        _configs[key] = pickle.dumps(_read_files(self, defaults, repo))
    config = pickle.loads(_configs[key])  # a third of the time of copy.deepcopy
    OmegaConf.clear_cache(config)  # the time that its files name was asked for meanwhile
    return config
