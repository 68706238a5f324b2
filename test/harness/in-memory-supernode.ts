import { join } from 'node:path'
import { type DescMethodUnary, isMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import { Bell } from '../../src/base/bell.ts'
import { errorCatalog } from '../../src/base/error-catalog.ts'
import { DomainError } from '../../src/base/errors.ts'
import type { NodeId } from '../../src/base/ids.ts'
import { inMemory, openDatabase } from '../../src/db/database.ts'
import { PullMessagesResponseSchema } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { createObjectStore } from '../../src/objects/object-store.ts'
import type { Channel } from '../../src/rpc/channel.ts'
import { RpcError } from '../../src/rpc/rpc-error.ts'
import { createFleetService } from '../../src/superlink/api/fleet.ts'
import type { SupernodeContext } from '../../src/supernode/context.ts'
import { FleetClient } from '../../src/supernode/fleet.ts'
import { receiveInstructions } from '../../src/supernode/receive.ts'
import { Runs } from '../../src/supernode/runs.ts'
import { onTaskFinished } from '../../src/supernode/task-end.ts'
import { WorkBook } from '../../src/supernode/work.ts'
import { Tasks } from '../../src/tasks/tasks.ts'
import { temporaryDirectory } from './directory.ts'
import { InMemoryClient } from './in-memory-client.ts'
import { recordingLogger } from './recording-logger.ts'
import { certificatePeer, openConnection, type SuperlinkCore } from './superlink-core.ts'

/** A SuperNode without sockets at a {@link SuperlinkCore}, which receives instructions. Its apps are the test. */
export class InMemorySupernode implements AsyncDisposable {
  readonly ctx: SupernodeContext
  readonly nodeId: NodeId
  readonly lines: string[]
  readonly #stack: AsyncDisposableStack

  private constructor(ctx: SupernodeContext, lines: string[], stack: AsyncDisposableStack) {
    this.ctx = ctx
    this.nodeId = ctx.fleet.nodeId
    this.lines = lines
    this.#stack = stack
  }

  static async join(superlink: SuperlinkCore, identity: string, line: Line = 'whole'): Promise<InMemorySupernode> {
    const stack = new AsyncDisposableStack()
    const { connection, close } = openConnection(1, certificatePeer(identity))
    const client = new InMemoryClient([createFleetService(superlink.ctx)], { connection })
    const stop = new AbortController()
    const { clock } = superlink
    const { log, lines } = recordingLogger()
    const db = stack.use(openDatabase({ path: inMemory }))
    const directory = join(stack.use(temporaryDirectory()).path, 'objects')
    const channel = { call: callOver(client, stop.signal, line) } as unknown as Channel
    const config = { key: generateNodeKey(), keyIsAutomatic: true, hasCertificate: true } as SupernodeContext['config']
    const fleet = new FleetClient({ config, channel, clock, log, signal: stop.signal })
    await fleet.join()
    const ctx: SupernodeContext = {
      config,
      db,
      objects: await createObjectStore({ db, directory, durable: false }),
      tasks: new Tasks({ db, clock, log, onFinished: (...end) => onTaskFinished(ctx, ...end) }),
      clock,
      log,
      fleet,
      runs: new Runs(fleet, {}),
      work: new WorkBook(),
      room: new Bell(),
      signal: stop.signal,
      receiving: stop.signal,
    }
    const job = receiveInstructions(ctx).catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
    stack.defer(async () => {
      stop.abort()
      close()
      await job
    })
    return new InMemorySupernode(ctx, lines, stack)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** What a proxy leaves of a response: all, no header of ours, or no field of ours either. */
export type Line = 'whole' | 'without our headers' | 'without our headers and fields'

/** Calls as a channel does, with the errors of one. */
function callOver(client: InMemoryClient, signal: AbortSignal, line: Line) {
  return async <I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: { waitMs?: number } = {},
  ): Promise<{ message: MessageShape<O>; waited: boolean }> => {
    signal.throwIfAborted()
    try {
      const { waitMs } = options
      const isWhole = line === 'whole'
      // A proxy that removes headers removes them both ways.
      const wait = isWhole ? (waitMs === undefined ? {} : { waitMs }) : { waitMs: 0 }
      const message = await client.call(method, request, { ...wait, signal })
      if (line === 'without our headers and fields' && isMessage(message, PullMessagesResponseSchema))
        delete message.endedRunsSeen
      return { message, waited: isWhole }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof DomainError)) throw error
      const { refusalReason } = error
      throw new RpcError(errorCatalog[error.code].status, error.publicSentence, { refusalReason })
    }
  }
}
