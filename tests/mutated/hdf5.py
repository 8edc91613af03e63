"""Published feature files."""

import h5py
import numpy as np

from msdn_lit.data.features.published_hdf5 import PublishedFeatures
from msdn_lit.data.splits.xlsa17 import read_proposed_split
from tests.hdf5_files import MAPS_NDHW, SOURCE, D, H, W, write_hdf5
from tests.miniature import N, write_split
from tests.mutated.format import is_array, of_one_file

_SHAPE = MAPS_NDHW.shape


def formats(folder):
    split = read_proposed_split(write_split(folder))

    def read(path):
        published = PublishedFeatures(path, SOURCE, "images")
        published.check_split(split)
        return published.gather(np.arange(N))

    def made(**changes):
        path = folder / "made.hdf5"
        write_hdf5(
            path, split, **{key: value for key, value in changes.items() if not callable(value)}
        )
        with h5py.File(path, "r+") as file:
            for key, make in changes.items():
                if callable(make):
                    del file[key]
                    make(file, key)
        return path.read_bytes()

    def is_right(value):
        return is_array(value, np.float16, (N, H * W, D))

    hostile = [(name, made(**changes)) for name, changes in _changes(split)]
    yield of_one_file("x.hdf5", made(), read, is_right, hostile)
    yield of_one_file("gzip.hdf5", made(compression="gzip"), read, is_right)


def _changes(split):
    """Yields names, and arguments of `write_hdf5` or functions that create a key."""
    for dtype in ("i4", "u1", "c8", "S4", "?", "f8", "f2", ">f4", "g"):
        yield f"maps {dtype}", {"maps": MAPS_NDHW.astype(dtype)}
    yield "other keys", {"maps": None, "features": MAPS_NDHW}
    yield "more maps than labels", {"maps": np.concatenate([MAPS_NDHW, MAPS_NDHW])}
    yield "fewer maps than labels", {"maps": MAPS_NDHW[:-3]}
    yield "infinite maps", {"maps": np.full_like(MAPS_NDHW, np.inf)}
    for name, make in _values():
        yield f"maps, {name}", {"feature_map": make}
        yield f"labels, {name}", {"labels": make}
        yield f"a list, {name}", {"trainval_loc": make}
    for key, values in (("labels", split.labels_N), ("trainval_loc", split.indices["trainval"])):
        for name, changed in (
            ("nan", values * np.nan),
            ("complex", values * 1j),
            ("halves", values + 0.5),
            ("texts", ["a"] * N),
            ("records", np.zeros(N, [("a", "i8")])),
            ("unsigned", values.astype("u8")),
            ("empty", []),
        ):
            yield f"{key} {name}", {key: changed}


def _values():
    """Yields functions that create wrong values: no array, data in other files, or no data."""
    outside = {"shape": _SHAPE, "dtype": "f4"}
    yield "group", lambda file, key: file.create_group(key)
    yield "type", lambda file, key: file.__setitem__(key, np.dtype("f4"))
    yield "text", _assign("text")
    yield "nothing", _assign(h5py.Empty("f4"))
    yield "number", _assign(1.0)
    yield "records", _assign(np.zeros(_SHAPE, [("a", "f4")]))
    yield "ragged", _create(shape=_SHAPE, dtype=h5py.vlen_dtype(np.float32))
    yield "references", _create(shape=_SHAPE, dtype=h5py.ref_dtype)
    yield "link to nothing", _assign(h5py.SoftLink("/nowhere"))
    yield "link to the root", _assign(h5py.SoftLink("/"))
    yield "link to itself", lambda file, key: file.__setitem__(key, h5py.SoftLink(f"/{key}"))
    yield "link outside", _assign(h5py.ExternalLink("nowhere.hdf5", "/x"))
    yield "link to a device", _assign(h5py.ExternalLink("/dev/zero", "/x"))
    yield "link to the same file", _assign(h5py.ExternalLink("x.hdf5", "/feature_map"))
    yield "data in a device", _create(**outside, external=[("/dev/zero", 0, MAPS_NDHW.nbytes)])
    yield "data nowhere", _create(**outside, external=[("nowhere.raw", 0, MAPS_NDHW.nbytes)])
    yield "virtual", _virtual("nowhere.hdf5")
    yield "virtual, of itself", _virtual(".")
    yield "never written", _create(**outside)
    yield "chunks never written", _create(**outside, chunks=(1, D, H, W))
    yield (
        "huge chunks",
        _create(**outside, maxshape=(None,) * 4, compression="gzip", chunks=(N, 10_000, 20, 20)),
    )
    yield "huge depth", _create(shape=(N, 10**9, H, W), dtype="f4", chunks=(1, 10, 1, 1))
    yield "huge length", _create(shape=(10**12, D, H, W), dtype="f4", chunks=(1, D, H, W))


def _assign(value):
    return lambda file, key: file.__setitem__(key, value)


def _create(**options):
    return lambda file, key: file.create_dataset(key, **options)


def _virtual(source):
    def make(file, key):
        layout = h5py.VirtualLayout(_SHAPE, np.float32)
        layout[:] = h5py.VirtualSource(source, key, _SHAPE)
        file.create_virtual_dataset(key, layout)

    return make
