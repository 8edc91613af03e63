"""Feature files like the published ones, of the miniature benchmark."""

import h5py
import numpy as np

from tests.miniature import C, K, N

SOURCE = {
    "name": "x",
    "backbone": {"model_name": "resnet101.tv_in1k"},
    "transform": {"image_size": 96},
}
D, H, W = 12, 3, 3
MAPS_NDHW = np.random.default_rng(0).random((N, D, H, W), dtype=np.float32) * 9


def write_hdf5(path, split, *, maps=MAPS_NDHW, compression=None, **changes):
    """Writes a file like the published scripts."""
    content = {
        "feature_map": maps,
        "labels": split.labels_N,
        "att": np.zeros((C, K)),
        "w2v_att": np.zeros((K, 300)),
    }
    content |= {
        f"{name}_loc": split.indices[name] for name in ("trainval", "test_seen", "test_unseen")
    }
    with h5py.File(path, "w") as file:
        for key, value in (content | changes).items():
            if value is not None:
                file.create_dataset(key, data=value, compression=compression)
    return path
