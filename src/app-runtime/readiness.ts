import { stripTypeScriptTypes } from 'node:module'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { limits } from '../base/limits.ts'
import { writeStoredZip } from '../base/zip-write.ts'
import { contentPath, writeContentList } from '../fab/content-list.ts'
import { readFab } from '../fab/read-fab.ts'
import { PullTaskInputResponseSchema } from '../gen/flwr/proto/runtime_pb.ts'
import { deflateMessage } from '../message/deflate.ts'
import { inflateMessage } from '../message/inflate.ts'
import { Message } from '../message/message.ts'
import { NdArray } from '../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../message/records.ts'
import { byHash, selectCarried } from '../objects/carried-objects.ts'
import { sdkUrl } from './sdk-url.ts'

/** Tells a process that there is no task for it yet. It is in its command line until there is one. */
const readyFlag = '--ready'

/**
 * Prepares this process before there is a task. When there is one, call the returned function: from then on lists of processes
 * show this one as the process of an app.
 */
export function waitReady(): () => void {
  // Without it the first task only takes longer.
  void rehearse().catch(() => {})
  return () => {
    const args = process.argv.slice(1).filter((arg) => arg !== readyFlag)
    process.title = [process.argv0, ...process.execArgv, ...args].join(' ')
  }
}

/**
 * Loads what every app imports, and does once what the first task needs, with an app and a message of its own: V8 compiles code
 * when it runs for the first time, which would be half of the time from the task to its app.
 */
export async function rehearse(): Promise<void> {
  await import(sdkUrl)
  // The first use loads the compiler.
  stripTypeScriptTypes('const ready: boolean = true')
  const pyproject: [string, Uint8Array] = ['pyproject.toml', Buffer.from(smallestApp)]
  const fab = writeStoredZip([pyproject, [contentPath, Buffer.from(writeContentList([pyproject]))]])
  await readFab(fab)
  const arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(1)) })
  const content = new RecordDict({ arrays, metrics: new MetricRecord({ loss: 0.5 }) })
  const deflated = deflateMessage(Message.create({ content, messageType: 'train', dstNodeId: 1n }))
  const { objects } = selectCarried([deflated], limits.carriedBytesMax)
  const input = create(PullTaskInputResponseSchema, {
    message: deflated.wire,
    messageObjectTree: deflated.tree,
    objects,
  })
  fromBinary(PullTaskInputResponseSchema, toBinary(PullTaskInputResponseSchema, input))
  const atHand = byHash(objects)
  inflateMessage(deflated.tree.objectId, (id) => atHand.get(id) as Uint8Array)
}

const smallestApp = `[project]
name = "ready"
version = "1.0.0"
[tool.flwr.app]
publisher = "trellis"
[tool.flwr.app.components]
serverapp = "app.ts:app"
clientapp = "app.ts:app"
`
