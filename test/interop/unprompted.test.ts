import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { withoutReleases } from '../harness/python-flower.ts'

const server = `import logging
import time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.logger import log
from flwr.serverapp import ServerApp

app = ServerApp()

def pull(grid):
    received = list(grid.pull_messages())
    for message in received:
        kind = "reply" if message.metadata.reply_to_message_id else "unasked"
        log(logging.INFO, "received %s: %s", kind, message.content["config"]["name"])
    return received

@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    content = RecordDict({"config": ConfigRecord({"name": "question"})})
    list(grid.push_messages([Message(content, dst_node_id=nodes[0], message_type="query")]))
    received = []
    while len(received) < 3:
        received += pull(grid)
        time.sleep(0.2)
    log(logging.INFO, "and %d more", len(pull(grid)))
`

const client = `from flwr.clientapp import ClientApp
app = ClientApp()
`

/** A SuperNode made of the parts of Flower 1.43 that speak to a SuperLink. It sends two messages unasked, one of them twice. */
const node = `import os
import sys
import time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_connection import http_request_response

with open(sys.argv[2], "rb") as file:
    root = file.read()
with http_request_response(sys.argv[1], False, root) as connection:
    node_id, receive, send, _, _, pull_object, push_object, confirm = connection
    print("joined", flush=True)
    while not (received := receive()):
        time.sleep(0.2)
    asked, tree = received
    run_id = asked.metadata.run_id
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 2, run_id, node_id
    for item in iterate_object_tree(tree):
        while True:
            try:
                pull_object(run_id, item.object_id)
                break
            except Exception:
                time.sleep(0.2)
    confirm(run_id, tree.object_id)

    def deliver(message):
        message.metadata.__dict__["_message_id"] = ""
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        missing, session = send(message, get_object_tree(message), 0.0)
        for object_id, item in objects.items():
            if object_id in missing:
                push_object(run_id, session, object_id, item.deflate())
        return len(missing)

    def unasked(name):
        content = RecordDict({"config": ConfigRecord({"name": name})})
        return Message(content, dst_node_id=1, message_type="query")

    first = unasked("first")
    print("first:", deliver(first) > 0, flush=True)
    print("first again:", deliver(first), flush=True)
    deliver(unasked("second"))
    deliver(Message(RecordDict({"config": ConfigRecord({"name": "answer"})}), reply_to=asked))
    print("sent", flush=True)
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.2)
    try:
        print("after the run:", deliver(unasked("late")), flush=True)
    except BaseException as error:
        print("after the run:", type(error).__name__, flush=True)
`

for (const superlink of ['1.43', 'trellis'] as const) {
  const options = { skip: withoutReleases('1.43') }
  test(`a ServerApp of 1.43 at ${superlink} receives what a SuperNode sends unasked`, options, async () => {
    await using fleet = await MixedFleet.create({ superlink, python: '1.43', pythonState: 'memory' })
    const script = fleet.directory.file('node.py')
    writeFileSync(script, node)
    const ended = fleet.directory.file('ended')
    const supernode = fleet.start('1.43', 'python', [script, fleet.fleetAddress, fleet.ca.certfile, ended])
    const app = writeMixedApp(fleet.directory.file('app'), {
      server: { language: 'python', source: server },
      client: { language: 'python', source: client },
    })
    const run = await fleet.flwr(superlink, ['run', app, '--stream'])
    const received = [...run.said.matchAll(/received (\w+: \w+)|and (\d+) more/g)].map(([, what, more]) => what ?? more)
    assert.deepEqual(received.toSorted(), ['0', 'reply: answer', 'unasked: first', 'unasked: second'], run.said)
    assert.match(supernode.said, /first: True\nfirst again: 0/)
    writeFileSync(ended, '')
    // Flower's SuperLink says nothing of what it refuses. Ours gives the reason that Flower's SuperNodes know.
    await supernode.line(superlink === 'trellis' ? /after the run: RunNotRunningException/ : /after the run: 0/)
  })
}
