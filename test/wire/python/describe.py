"""The form in which the cases are written, so that both languages can build them.

Integers are decimal strings, floats are JSON numbers or "nan", "inf", "-inf", bytes are base64. A value of a record is
{"int": ..}, {"float": ..}, {"bool": ..}, {"str": ..}, {"bytes": ..}, or a list in place of the two dots.
"""

import base64
import math

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord

PATTERN = np.arange(-125, 126)


def number(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def base64_of(value):
    return base64.b64encode(value).decode()


def value_of(kind, value):
    if isinstance(value, list):
        return {kind: [value_of(kind, item)[kind] for item in value]}
    if kind == "bytes":
        return {kind: base64_of(value)}
    return {kind: number(value) if kind in ("int", "float") else value}


def kind_of(value):
    if isinstance(value, list):
        return kind_of(value[0]) if value else "empty"
    return {bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes"}[type(value)]


def plain_values(array):
    """Values in C order, complex numbers as pairs; floats go through float64, which holds each of them."""
    flat = np.ravel(array, order="C")
    if flat.dtype.kind == "c":
        flat = flat.astype("<c16").view("<f8")
    if flat.dtype.kind == "b":
        return [int(item) for item in flat]
    return [number(item) for item in flat.tolist()]


def describe_array(array):
    if isinstance(array, Array):
        return {
            "opaque": {
                "dtype": array.dtype,
                "shape": list(array.shape),
                "stype": array.stype,
                "data": base64_of(array.data),
            }
        }
    described = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.nbytes > 100_000:
        return described | {"repeat": plain_values(array.ravel()[: PATTERN.size]) if array.any() else ["0"]}
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        described["order"] = "F"
    return described | {"values": plain_values(array)}


def describe(record):
    if isinstance(record, ArrayRecord):
        raise TypeError("arrays are described from numpy")
    kind = "metrics" if isinstance(record, MetricRecord) else "config"
    return {kind: [[key, value_of(kind_of(value), value)] for key, value in record.items()]}


class Arrays(dict):
    """Named numpy arrays (or ready Arrays), which become an ArrayRecord."""

    def record(self):
        return ArrayRecord({k: v if isinstance(v, Array) else Array(np.asarray(v)) for k, v in self.items()})
