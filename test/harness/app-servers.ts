import { fromBinary } from '@bufbuild/protobuf'
import type { AppProgram } from '../../src/app-api/task-api.ts'
import type { RunId } from '../../src/base/ids.ts'
import { ContextSchema } from '../../src/gen/flwr/proto/message_pb.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { ConfigRecord, RecordDict } from '../../src/message/records.ts'
import { recordDictToWire } from '../../src/message/wire.ts'
import type { Service } from '../../src/rpc/service.ts'
import { createSuperlinkBackend } from '../../src/superlink/api/runtime-backend.ts'
import { resumeRun } from '../../src/superlink/runs/resume.ts'
import { findRun } from '../../src/superlink/runs/run.ts'
import { findContext } from '../../src/superlink/runs/run-store.ts'
import { createServerAppIoService } from '../../src/tasks/appio-service.ts'
import { createRuntimeService } from '../../src/tasks/runtime-service.ts'
import { type CoreOptions, SuperlinkCore } from './superlink-core.ts'
import { SupernodeCore } from './supernode-core.ts'

/** A server with one task, whose apps are the test. */
export interface AppServer extends AsyncDisposable {
  readonly program: AppProgram
  readonly services: readonly Service[]
  /** Takes a task as a SuperExec does, and returns its token. */
  take(): Promise<string>
}

export interface NodeServer extends AppServer {
  readonly node: SupernodeCore
}

export interface LinkServer extends AppServer {
  readonly superlink: SuperlinkCore
  readonly runId: RunId
  /** How the run has ended, and what its ServerApp has kept. */
  outcome(): Promise<{ status: string | undefined; subStatus: string | undefined; kept: string[] }>
  /** Loses the process of the ServerApp, and returns the token of the next one. */
  loseApp(): Promise<string>
  /** Starts the run again from its last checkpoint, as a new run, and returns the token of its ServerApp. */
  resume(): Promise<string>
}

export async function startNode(): Promise<NodeServer> {
  const node = await SupernodeCore.create()
  return {
    node,
    program: 'flwr-clientapp',
    services: node.services,
    async take() {
      const wait = { waitMs: 15_000, signal: node.ctx.signal }
      return (await node.ctx.tasks.acquire({ types: ['flwr-clientapp'], ...wait }))?.token ?? ''
    },
    [Symbol.asyncDispose]: () => node[Symbol.asyncDispose](),
  }
}

export async function startLink(options?: CoreOptions): Promise<LinkServer> {
  const superlink = await SuperlinkCore.start(options)
  const { runId, token } = await superlink.run({ starts: false })
  const { ctx } = superlink
  const api = {
    tasks: ctx.tasks,
    clock: ctx.clock,
    backend: createSuperlinkBackend(ctx),
    checkSuperexec: async () => {},
  }
  return {
    superlink,
    runId,
    program: 'flwr-serverapp',
    services: [createRuntimeService(api), createServerAppIoService(api)],
    take: async () => token,
    async loseApp() {
      const run = await findRun(ctx.db.read, runId)
      const taskId = run?.task.taskId
      if (taskId === undefined) throw new Error('There is no such run.')
      await ctx.db.transaction((tx, afterCommit) => ctx.tasks.lose(tx, afterCommit, taskId, 'ended by SIGKILL'))
      return (await ctx.tasks.acquireOfRun('flwr-serverapp', runId))?.token ?? ''
    },
    async resume() {
      const run = await findRun(ctx.db.read, runId)
      if (!run) throw new Error('There is no such run.')
      const owner = { id: 'me', name: 'me', organization: '' }
      const resumed = await resumeRun(ctx, run, owner)
      return (await ctx.tasks.acquireOfRun('flwr-serverapp', resumed.runId))?.token ?? ''
    },
    async outcome() {
      const run = await findRun(ctx.db.read, runId)
      const context = run && (await findContext(ctx.db.read, run.seriesId))
      const items = context ? (fromBinary(ContextSchema, context).state?.items ?? []) : []
      return { status: run?.task.status, subStatus: run?.task.subStatus, kept: items.map(({ key }) => key) }
    },
    [Symbol.asyncDispose]: () => superlink[Symbol.asyncDispose](),
  }
}

/** A message of no run. */
export const foreignMessage = (): DeflatedMessage =>
  deflateMessage(Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId: 5n }))

/** A state that an app keeps under this name. */
export const stateNamed = (name: string) =>
  recordDictToWire(new RecordDict({ [name]: new ConfigRecord({ rounds: 3 }) }))
