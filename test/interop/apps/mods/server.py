"""Asks every node once and prints what its mods did."""

import time

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < 3:
        time.sleep(0.1)
    content = RecordDict({"config": ConfigRecord({"trace": "server"})})
    messages = [Message(content, dst_node_id=node, message_type="query") for node in nodes]
    for reply in grid.send_and_receive(messages):
        print("trace:", reply.content["config"]["trace"], flush=True)
