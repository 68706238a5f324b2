import { join } from 'node:path'
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { Bell } from '../../src/base/bell.ts'
import { errorCatalog } from '../../src/base/error-catalog.ts'
import { DomainError } from '../../src/base/errors.ts'
import type { NodeId } from '../../src/base/ids.ts'
import { inMemory, openDatabase } from '../../src/db/database.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { createObjectStore } from '../../src/objects/object-store.ts'
import { RpcError } from '../../src/rpc/rpc-error.ts'
import { createFleetService } from '../../src/superlink/api/fleet.ts'
import type { SupernodeContext } from '../../src/supernode/context.ts'
import type { FleetClient } from '../../src/supernode/fleet.ts'
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

  static async join(superlink: SuperlinkCore, identity: string): Promise<InMemorySupernode> {
    const stack = new AsyncDisposableStack()
    const { connection, close } = openConnection(1, certificatePeer(identity))
    const client = new InMemoryClient([createFleetService(superlink.ctx)], { connection })
    const { publicKeyPem: publicKey } = generateNodeKey()
    const joined = await client.call(Fleet.method.activateNode, { publicKey, heartbeatInterval: 30 })
    const nodeId = joined.nodeId as NodeId
    const stop = new AbortController()
    const { clock } = superlink
    const { log, lines } = recordingLogger()
    const db = stack.use(openDatabase({ path: inMemory }))
    const directory = join(stack.use(temporaryDirectory()).path, 'objects')
    const fleet = { nodeId, redelivers: true, call: callOver(client, stop.signal) } as unknown as FleetClient
    const ctx: SupernodeContext = {
      config: {} as SupernodeContext['config'],
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

/** As the Fleet client does, whose errors are those of a channel. */
function callOver(client: InMemoryClient, signal: AbortSignal) {
  return async <I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: { waitMs?: number } = {},
  ): Promise<{ message: MessageShape<O>; waited: boolean }> => {
    signal.throwIfAborted()
    try {
      return { message: await client.call(method, request, { ...options, signal }), waited: true }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof DomainError)) throw error
      const { refusalReason } = error
      throw new RpcError(errorCatalog[error.code].status, error.publicSentence, { refusalReason })
    }
  }
}
