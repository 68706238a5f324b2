"""Nodes with our Python mod for secure aggregation: reads messages from stdin and writes replies, a line of JSON each."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "secure-aggregation"))
sys.dont_write_bytecode = True

from secure_aggregation import secure_aggregation_mod  # noqa: E402

METADATA = dict(run_id=1, message_id="m", src_node_id=1, reply_to_message_id="", group_id="", created_at=0.0, ttl=60.0)


def read(value):
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else [read(one) for one in value] if isinstance(value, list) else value


def written(value):
    return {"hex": value.hex()} if isinstance(value, bytes) else [written(one) for one in value] if isinstance(value, list) else value


def record_of(described):
    if "arrays" in described:
        return ArrayRecord({name: Array(**(array | {"shape": tuple(array["shape"]), "data": bytes.fromhex(array["data"])})) for name, array in described["arrays"].items()})
    return ConfigRecord({key: read(value) for key, value in described["config"].items()})


def described(record):
    if isinstance(record, ArrayRecord):
        return {"arrays": {name: {"dtype": one.dtype, "shape": list(one.shape), "stype": one.stype, "data": one.data.hex()} for name, one in record.items()}}
    return {"config": {key: written(value) for key, value in record.items()}}


def train(message, _context):
    arrays = ArrayRecord({name: Array(np.asarray(array.numpy() * 3)) for name, array in message.content["arrays"].items()})
    metrics = MetricRecord({"num-examples": 30, "loss": 2.0, "pair": [1.0, 3.0]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


contexts = {}
for line in sys.stdin:
    request = json.loads(line)
    node = int(request["node"])
    context = contexts.setdefault(node, SimpleNamespace(node_id=node, state=RecordDict()))
    content = RecordDict({name: record_of(one) for name, one in request["records"]})
    metadata = Metadata(**METADATA, dst_node_id=node, message_type="train")
    reply = secure_aggregation_mod(Message(metadata=metadata, content=content), context, train)
    answer = {"error": reply.error.reason} if reply.has_error() else {"records": [[name, described(one)] for name, one in reply.content.items()]}
    print(json.dumps(answer), flush=True)
