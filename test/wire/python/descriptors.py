"""Prints what the installed flwr package says about its wire: messages with their fields, enums and services, as JSON."""

import importlib
import json
import os

import flwr.proto
from google.protobuf.descriptor import FieldDescriptor

TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def field_of(field):
    kind = field.enum_type or field.message_type
    oneof = field.containing_oneof
    is_real_oneof = oneof is not None and not oneof.name.startswith("_")
    return {
        "number": field.number,
        "type": TYPES[field.type],
        "of": kind.full_name if kind else "",
        "repeated": field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED,
        "optional": oneof is not None and not is_real_oneof,
        "oneof": oneof.name if is_real_oneof else "",
    }


def add(message, messages, enums):
    messages[message.full_name] = {field.name: field_of(field) for field in message.fields}
    for nested in message.nested_types:
        add(nested, messages, enums)
    for enum in message.enum_types:
        enums[enum.full_name] = {value.name: value.number for value in enum.values}


messages, enums, methods = {}, {}, {}
for name in sorted(os.listdir(os.path.dirname(flwr.proto.__file__))):
    if not name.endswith("_pb2.py"):
        continue
    file = importlib.import_module(f"flwr.proto.{name.removesuffix('.py')}").DESCRIPTOR
    for message in file.message_types_by_name.values():
        add(message, messages, enums)
    for enum in file.enum_types_by_name.values():
        enums[enum.full_name] = {value.name: value.number for value in enum.values}
    for service in file.services_by_name.values():
        for method in service.methods:
            streams = getattr(method, "server_streaming", None)
            methods[f"{service.full_name}.{method.name}"] = {
                "input": method.input_type.full_name,
                "output": method.output_type.full_name,
                "streams": streams,
            }
print(json.dumps({"messages": messages, "enums": enums, "methods": methods}))
