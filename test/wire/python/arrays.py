"""Converts the arrays of an .npz file with numpy and writes .npz files for the other side to read."""

import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
folder = sys.argv[1]
converted = {}
with np.load(f"{folder}/sources.npz") as sources:
    for name in sources.files:
        for to in name.split(" to ")[1].split(","):
            converted[f"{name} {to}"] = sources[name].astype(to)
np.savez(f"{folder}/converted.npz", **converted)
np.savez_compressed(
    f"{folder}/layouts.npz",
    **{
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "big endian": np.arange(4, dtype=">i8"),
        "number": np.array(2.5),
        "empty": np.zeros((0, 3), dtype=np.float16),
        "naïve/layer.0": np.array([True, False]),
    },
)
np.savez(f"{folder}/objects.npz", good=np.zeros(1), bad=np.array([{"a": 1}], dtype=object))
