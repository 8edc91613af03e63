"""Feature stores: the array and its manifest."""

import json

import numpy as np

from msdn_lit.data.features.extraction import write_store
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from tests.miniature import SOURCE, D, GivenRegions, N, R
from tests.mutated.format import Format, is_array
from tests.mutated.tables import npys


def formats(folder):
    regions = np.random.default_rng(3).random((N, R, D)).astype(np.float16)
    made_by = ({"torch": "2"}, {"device": "cpu"})
    manifest = Manifest(SOURCE, "images", regions.shape, (2, 2), "none", *made_by, skipped=(3, 5))
    write_store(folder / "store", manifest, GivenRegions(regions), 32)
    files = {name: (folder / "store" / name).read_bytes() for name in (REGIONS, MANIFEST)}
    for name, hostile in ((REGIONS, npys()), (MANIFEST, _manifests(files[MANIFEST]))):
        yield Format(
            name, files, _read, _is_store, [(case, {name: data}) for case, data in hostile], (name,)
        )


def _read(folder):
    store = FeatureStore(folder)
    store.check(source=SOURCE, images_sha256="images")
    rows = np.arange(N)
    return store.gather(rows[~np.isin(rows, store.manifest.skipped)]), store.manifest


def _is_store(value):
    regions, manifest = value
    texts = (manifest.images_sha256, manifest.weights_sha256, manifest.regions_sha256)
    return (
        is_array(regions, np.float16, (N - len(manifest.skipped), R, D))
        and manifest.shape == (N, R, D)
        and set(manifest.skipped) <= set(range(N))
        and manifest.grid[0] * manifest.grid[1] == R
        and all(type(size) is int for size in (*manifest.grid, *manifest.shape, *manifest.skipped))
        and all(
            type(entries) is dict
            for entries in (manifest.source, manifest.versions, manifest.computation)
        )
        and all(type(text) is str for text in texts)
    )


def _manifests(intact):
    content = json.loads(intact)
    for shape in (
        [],
        [N, 4],
        [N, 4, 12, 1],
        [float(N), 4.0, 12.0],
        ["96", 4, 12],
        None,
        5,
        "abc",
        [-1, 4, 12],
        {"a": 1},
        [10**30, 4, 12],
        [10**12, 4, 12],
        [True, 4, 12],
        [N, 4, None],
        [[N], 4, 12],
        [1e400, 1, 1],
        [N, 2, 24],
    ):
        yield f"shape {str(shape)[:30]}", _json(content | {"shape": shape})
    values = (
        None,
        5,
        "x",
        [],
        [1],
        {},
        float("nan"),
        10**40,
        True,
        [None],
        ["a"],
        [1.5],
        [10**40],
        [-1],
        [N],
    )
    for key in content:
        yield f"no {key}", _json({name: value for name, value in content.items() if name != key})
        for value in values:
            yield f"{key} {str(value)[:9]}", _json(content | {key: value})
    for text in (
        "NaN",
        "Infinity",
        "1e999",
        "null",
        '"x"',
        "[]",
        "[1, 2]",
        "{",
        "[" * 20_000,
        '{"a":' * 20_000,
    ):
        yield f"text {text[:9]}", text.encode()
    yield "digits", b"1" * 100_000
    yield "half a character", _json(content | {"images_sha256": "\ud800"})
    yield "utf-16", json.dumps(content).encode("utf-16")


def _json(content):
    return json.dumps(content).encode()
