"""Moves the weights by a known step; a mod clips it where the server asks for that."""

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod

STEPS = ([0.3, 0.4], [3.0, 4.0], [-6.0, 8.0])


def clip_when_asked(message, context, call_next):
    asked = next(iter(message.content.config_records.values()))
    if "clipping_norm" not in asked:
        return call_next(message, context)
    mod = adaptiveclipping_mod if "adaptive" in asked.get("kind", "") else fixedclipping_mod
    return mod(message, context, call_next)


app = ClientApp(mods=[clip_when_asked])


@app.train()
def train(message, context):
    weights = message.content["arrays"].to_numpy_ndarrays()[0]
    moved = weights + np.array(STEPS[int(context.node_config["partition"])])
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": ArrayRecord([moved]), "metrics": metrics}), reply_to=message)
