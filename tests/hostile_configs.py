"""Changes of a run folder's config.yaml that would run code, read the environment, or end Python.

All of them are tried by tests/test_hostile_folders.py.
"""

from itertools import pairwise

PARTS = (
    "data",
    "features",
    "sampler",
    "model",
    "loss",
    "optimizer",
    "scheduler",
    "compile",
    "trainer",
    "callbacks",
    "logger",
    "protocol",
    "prediction",
    "paths",
)


def objects(witness):
    """Yields objects that would create `witness`, by name; evil.py is in the working directory."""
    run = {"command": f"touch {witness}"}
    yield "a function of PyTorch", {"_target_": "torch.utils.collect_env.run", **run}
    yield "mkdir", {"_target_": "os.mkdir", "path": witness}
    yield "positional", {"_target_": "os.mkdir", "_args_": [witness]}
    yield "partial", {"_target_": "os.mkdir", "_args_": [witness], "_partial_": False}
    yield "a module of ours", {"_target_": "msdn_lit.files.os.mkdir", "path": witness}
    prefix = "msdn_lit.models.msdn.torch.utils.collect_env.run"
    yield "the prefix of our models", {"_target_": prefix, **run}
    prefix = "torch.optim.optimizer.torch.utils.collect_env.run"
    yield "the prefix of the optimizers", {"_target_": prefix, **run}
    prefix = "lightning.pytorch.trainer.trainer.os.mkdir"
    yield "the prefix of the trainer", {"_target_": prefix, "path": witness}
    yield "a module of the working directory", {"_target_": "evil.Net"}
    yield "a command of ours", {"_target_": "msdn_lit.files.write_atomically", "path": witness}
    called = {"_target_": "hydra.utils.call", "config": {"_target_": "os.mkdir", "path": witness}}
    yield "Hydra", called
    yield "Hydra's instantiate", called | {"_target_": "msdn_lit.build.instantiate.instantiate"}
    located = {"_target_": "hydra.utils.get_method", "path": "evil.Net"}
    yield "a callable by its name", located


def placed(witness):
    """Yields (name, change): an object in each part, in a list, deep, and in place of another."""
    for name, thing in objects(witness):
        for part in PARTS:
            yield f"{name} in {part}", _into(part, thing)
    (_, thing), *_ = objects(witness)
    for part in PARTS:
        yield f"a list in {part}", _into(part, [[thing]])
        yield f"deep in {part}", _into(part, {"a": [{"b": {"c": [thing]}}]})
        yield f"inside an allowed object of {part}", _inside(part, thing)
    yield "a part of its own", lambda config: config.update(more=thing)
    yield "the whole config", lambda config: config.update(thing)
    yield "in place of the net", lambda config: config.update(model=thing)
    yield "in place of the data", lambda config: config["data"].update(thing)
    yield "in place of the optimizer", lambda config: config.update(optimizer=thing)
    yield "the issue's", lambda config: config["data"].update(val_seen=thing)


def referred(witness):
    """Yields (name, change) with references and resolvers."""
    thing = {"_target_": "os.mkdir", "path": witness}
    net = {"_target_": "msdn_lit.models.MSDN", "_partial_": True}
    texts = (
        "${oc.env:SECRET}",
        "x${oc.env:SECRET}y",
        "${oc.env:SECRET,${oc.env:HOME}}",
        "${oc.decode:'{_target_: os.mkdir, path: " + witness + "}'}",
        "${oc.create:'{_target_: os.mkdir, path: " + witness + "}'}",
        "${oc.create:{_target_: os.mkdir}}",
        "${oc.deprecated:seed}",
        "${oc.dict.values:model}",
        "${oc.select:seed}",
        "${now:%Y}",
        "${hydra:runtime.cwd}",
        "${python_version:}",
        "${${seed}}",
        "${a${seed}}",
        "${.seed}",
        "${..seed}",
        "${model[_target_]}",
        "${ seed }",
        "${seed",
        "\\${oc.env:SECRET}${oc.env:SECRET}",
        "${nothing.there}",
        "${oc.env:SECRET}".replace("oc", "${x}"),
    )
    for text in texts:
        for part in ("data", "model", "features", "prediction"):
            yield f"{text[:30]} in {part}", _into(part, text)
    yield "the name of the benchmark", lambda c: c["data"].update(benchmark="${oc.env:SECRET}")
    yield "a target by reference", lambda c: c["model"].update(_target_="${x}", x="os.mkdir")
    yield "an object by reference", lambda c: c.update(more=thing) or _into("data", "${more}")(c)
    yield "another part's object", lambda c: _into("data", "${callbacks.checkpoints}")(c)
    yield "a reference to itself", _into("data", "${data.hostile}")
    yield "references in a circle", lambda c: c.update(a="${b}", b="${a}")
    laughs = {f"x{n}": [f"${{x{n + 1}}}"] * 9 for n in range(30)}
    yield "a billion laughs", lambda c: c.update(laughs, x30="ha")
    laughs = {f"x{n}": f"${{x{n + 1}}}" * 9 for n in range(30)}
    yield "a billion laughs in texts", lambda c: c.update(laughs, x30="ha")
    yield "an argument by position", lambda c: c["model"].update(_args_=[net])
    yield "objects that stay configs", lambda c: c["model"].update(_recursive_=False)


def arguments(witness):
    """Yields (name, change): allowed objects with arguments that name files or programs."""
    backbone = {
        "checkpoint_path": f"{witness}.pth",
        "cache_dir": witness,
        "pretrained_cfg": {"file": f"{witness}.pth"},
        "pretrained_cfg_overlay": {"file": f"{witness}.pth", "custom_load": True},
        "pretrained_filter_fn": "os.mkdir",
    }
    for name, value in backbone.items():
        yield name, lambda c, n=name, v=value: _backbone(c)["model_args"].update({n: v})
        yield f"{name} of the backbone", lambda c, n=name, v=value: _backbone(c).update({n: v})
    compiler = {"_target_": "torch.compile", "_partial_": True}
    for argument in ({"options": {"cpp.cxx": [witness]}}, {"backend": "evil"}):
        yield f"{argument}", lambda c, a=argument: c.update(compile=compiler | a)


def texts(witness):
    """Yields (name, text): whole files."""
    yield "30,000 brackets", "[" * 30_000
    yield "30,000 closed brackets", "a: " + "[" * 30_000 + "]" * 30_000
    yield "30,000 braces", "{a: " * 30_000 + "1" + "}" * 30_000
    yield "30,000 lists", "- " * 30_000 + "1"
    yield "101 levels", "a: " + "[" * 101 + "]" * 101
    yield "an object of Python", f"data: !!python/object/apply:os.mkdir [{witness}]"
    yield "a module of Python", "data: !!python/module:evil"
    yield "a name of Python", "data: !!python/name:os.mkdir"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghij")]
    yield "repeated repetitions", "\n".join(lines)
    yield "a list that holds itself", "a: &a [*a]"
    yield "nothing", ""
    yield "a number", "7"
    yield "NUL", "\0"
    yield "half a config", "data: {_target_: "
    yield "no mapping", "data: 1\npaths: 1\nmodel: 1\nprediction: 1"


def _backbone(config):
    return config["features"]["backbone"]


def _into(part, value):
    return lambda config: _mapping(config, part).update(hostile=value)


def _inside(part, value):
    """Into the first object of a part, or the part itself."""

    def change(config):
        node = _mapping(config, part)
        inner = [one for one in node.values() if isinstance(one, dict) and "_target_" in one]
        (inner[0] if inner else node)["hostile"] = value

    return change


def _mapping(config, part):
    if not isinstance(config.get(part), dict):
        config[part] = {}
    return config[part]
