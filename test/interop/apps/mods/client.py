"""Two mods of our own around a handler, and one that Flower brings."""

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import message_size_mod


def named(name):
    def mod(message, context, call_next):
        config = message.content["config"]
        config["trace"] = f"{config['trace']} >{name}"
        reply = call_next(message, context)
        answer = reply.content["config"]
        answer["trace"] = f"{answer['trace']} <{name}"
        return reply

    return mod


app = ClientApp(mods=[named("outer"), message_size_mod, named("inner")])


@app.query(mods=[named("own")])
def query(message, context):
    trace = f"{message.content['config']['trace']} {context.node_config['partition']}"
    return Message(RecordDict({"config": ConfigRecord({"trace": trace})}), reply_to=message)
