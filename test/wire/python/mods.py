"""What Flower's mods make of a message and its reply, and what they log."""

import logging

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, Metadata, MetricRecord, RecordDict
from flwr.clientapp import mod as mods

from describe import Arrays, describe
from messages import INSTRUCTION
from training import Collect, Draw, Noise, raw_arrays, tidy


def described(content):
    return [[key, raw_arrays(record) if isinstance(record, ArrayRecord) else describe(record)] for key, record in content.items()]


def built(records):
    return RecordDict({key: record.record() if isinstance(record, Arrays) else record for key, record in records.items()})


def mod_case(name, mod, message, reply, options=None):
    """`reply` is the records, or an error, that the app gives."""
    incoming = Message(metadata=Metadata(**INSTRUCTION), content=built(message))
    outgoing = {"error": reply.reason} if isinstance(reply, Error) else {"records": described(built(reply))}
    metadata = Metadata(**(INSTRUCTION | {"src_node_id": 5, "dst_node_id": 1, "reply_to_message_id": "0" * 64}))

    def app(_message, _context):
        if isinstance(reply, Error):
            return Message(metadata=metadata, error=reply)
        return Message(metadata=metadata, content=built(reply))

    collect = Collect()
    logger = logging.getLogger("flwr")
    logger.addHandler(collect)
    np.random.normal = Noise().normal
    function = getattr(mods, mod)
    try:
        result = (function(**options) if options else function)(incoming, None, app)
        outcome = (
            {"error": {"code": result.error.code, "reason": result.error.reason}}
            if result.has_error()
            else {"records": described(result.content)}
        )
    finally:
        logger.removeHandler(collect)
    return {
        "name": name,
        "mod": mod,
        "options": options,
        "message": described(built(message)),
        "reply": outgoing,
        **outcome,
        "lines": tidy(collect.lines),
    }


def mod_cases():
    draw = Draw(16)

    def model():
        return Arrays(
            {
                "w": draw.coarse("float32", (3, 2), 8),
                "h": draw.coarse("float16", (2,), 8),
                "f": np.asfortranarray(draw.coarse("float64", (2, 2), 8)),
            }
        )

    def near(arrays):
        return Arrays({key: value + (value.dtype.type(0.125) if key == "h" else value.dtype.type(0)) for key, value in arrays.items()})

    sent = model()
    config = ConfigRecord({"lr": 0.1, "clipping_norm": 1.5})
    metrics = MetricRecord({"num-examples": 3, "list": [1.0, 2.0]})
    message = {"arrays": sent, "config": config}
    local = {"clipping_norm": 0.5, "sensitivity": 1.5, "epsilon": 2.0, "delta": 1e-05}
    for mod, options in (("fixedclipping_mod", None), ("adaptiveclipping_mod", None), ("LocalDpMod", local)):
        yield mod_case(f"{mod} with a long update", mod, message, {"a": model(), "metrics": metrics, "c": config}, options)
        yield mod_case(f"{mod} with a short update", mod, message, {"metrics": metrics, "a": near(sent)}, options)
        yield mod_case(f"{mod} with an error", mod, message, Error(2, "no data"), options)
        yield mod_case(f"{mod} with other names", mod, message, {"a": Arrays({"v": sent["w"]}), "metrics": metrics}, options)
        yield mod_case(f"{mod} without arrays", mod, message, {"metrics": metrics}, options)
        yield mod_case(f"{mod} with two models", mod, message | {"more": sent}, {"metrics": metrics}, options)
        if mod != "LocalDpMod":
            yield mod_case(f"{mod} without a norm", mod, {"arrays": sent, "config": ConfigRecord({"lr": 0.1})}, {"a": sent}, options)
            yield mod_case(f"{mod} without a configuration", mod, {"arrays": sent}, {"a": sent}, options)
    yield mod_case("adaptiveclipping_mod without metrics", "adaptiveclipping_mod", message, {"a": sent})
    settings = ConfigRecord({"ä": "über", "on": True, "raw": b"abc", "words": ["a", "bc"], "flags": [True, False], "n": [1, 2], "x": 1.0})
    big = {"arrays": sent, "it's": Arrays({"one": np.zeros(())}), "settings": settings}
    for mod in ("message_size_mod", "arrays_size_mod"):
        yield mod_case(f"{mod} with every kind of value", mod, big, {"metrics": metrics, "a": sent})
        yield mod_case(f"{mod} without arrays", mod, {"settings": settings}, {"metrics": metrics})
