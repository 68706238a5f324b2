import { create, type DescMethodUnary, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import type { RunId } from '../../src/base/ids.ts'
import { SimulationConfigSchema } from '../../src/gen/flwr/proto/federation_config_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { createSuperlinkBackend } from '../../src/superlink/api/runtime-backend.ts'
import { byTaskType, createVirtualBackend } from '../../src/superlink/simulation/client-backend.ts'
import { createSupernodeBackend } from '../../src/supernode/runtime-backend.ts'
import { createRuntimeService, type RuntimeServiceOptions } from '../../src/tasks/runtime-service.ts'
import { FakeClock } from './fake-clock.ts'
import { InMemoryClient } from './in-memory-client.ts'
import { InMemorySupernode } from './in-memory-supernode.ts'
import { type OwnMessage, SuperlinkCore } from './superlink-core.ts'

/** A server of ClientApps, and the SuperLink that its instructions come from. */
export interface ClientAppHost extends AsyncDisposable {
  readonly superlink: SuperlinkCore
  readonly runId: RunId
  readonly nodeId: bigint
  /** A SuperExec that asks for a task. */
  readonly launcher: InMemoryClient
  /** What is left of finished work at the server of the apps: rows of its tables. */
  leftovers(): Promise<Record<string, number>>
}

/** Replies are dated by the clock of the system. */
const now = (): FakeClock => new FakeClock(Date.now())

/** Virtual nodes and SuperNodes run ClientApps alike. */
export const clientAppHosts: Readonly<Record<string, () => Promise<ClientAppHost>>> = {
  async 'a SuperLink with virtual nodes'() {
    const superlink = await SuperlinkCore.start({ simulatedCpus: 1, clock: now() })
    const { fleet, ctx } = superlink
    if (!fleet) throw new Error('Nothing is simulated')
    const { runId } = await superlink.run({ simulation: create(SimulationConfigSchema, { numSupernodes: 1 }) })
    const backend = byTaskType(createSuperlinkBackend(ctx), createVirtualBackend(ctx, fleet))
    const [node] = await fleet.listReachable(runId)
    return {
      superlink,
      runId,
      nodeId: node?.nodeId ?? 0n,
      launcher: serve({ tasks: ctx.tasks, clock: ctx.clock, backend }),
      leftovers: () => countRows(ctx.db),
      [Symbol.asyncDispose]: () => superlink[Symbol.asyncDispose](),
    }
  },
  async 'a SuperNode'() {
    const superlink = await SuperlinkCore.start({ settings: { requireCertificates: true }, clock: now() })
    const { runId } = await superlink.run()
    const supernode = await InMemorySupernode.join(superlink, 'site-1')
    return {
      superlink,
      runId,
      nodeId: supernode.nodeId,
      ...serveApps(supernode),
      async [Symbol.asyncDispose]() {
        await supernode[Symbol.asyncDispose]()
        await superlink[Symbol.asyncDispose]()
      },
    }
  },
}

/** The side of a SuperNode that its apps see. */
export function serveApps(supernode: InMemorySupernode): Omit<ClientAppHost, 'superlink' | 'runId' | 'nodeId'> {
  const { ctx } = supernode
  return {
    launcher: serve({ tasks: ctx.tasks, clock: ctx.clock, backend: createSupernodeBackend(ctx) }),
    leftovers: () => countRows(ctx.db),
    [Symbol.asyncDispose]: () => supernode[Symbol.asyncDispose](),
  }
}

/** An app process of one task. */
export class PlayedApp {
  readonly #client: InMemoryClient
  readonly token: string

  constructor(client: InMemoryClient, token: string) {
    this.#client = client
    this.token = token
  }

  /** Launches the next ClientApp of a host, waiting for its task. */
  static async launch({ launcher }: ClientAppHost): Promise<PlayedApp> {
    const types = { supportedTaskTypes: ['flwr-clientapp'] }
    const { token } = await launcher.call(Runtime.method.acquireTask, types, { waitMs: 60_000 })
    return new PlayedApp(launcher, token)
  }

  call<K extends keyof UnaryMethods>(name: K, request: MessageInitShape<UnaryMethods[K]['input']>) {
    const options = { waitMs: 60_000, headers: { 'flwr-task-token': this.token } }
    const method = Runtime.method[name] as DescMethodUnary
    return this.#client.call(method, request as never, options) as unknown as Promise<ResponseOf<K>>
  }

  /** Pushes a reply and, unless told otherwise, its objects. */
  async reply(host: ClientAppHost, { deflated }: OwnMessage, { upload = true } = {}) {
    const request = { messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
    const pushed = await this.call('pushMessages', request)
    const node = { nodeId: host.nodeId }
    for (const objectId of upload ? pushed.objectsToPush : []) {
      const objectContent = (deflated.objects.get(objectId) as () => Uint8Array)()
      await this.call('pushObject', { node, runId: host.runId, objectId, objectContent })
    }
    return pushed
  }
}

type UnaryMethods = typeof Runtime.method
type ResponseOf<K extends keyof UnaryMethods> = MessageShape<UnaryMethods[K]['output']>

function serve(options: Omit<RuntimeServiceOptions, 'checkSuperexec'>): InMemoryClient {
  return new InMemoryClient([createRuntimeService({ ...options, checkSuperexec: async () => {} })])
}

async function countRows(db: SuperlinkCore['ctx']['db']): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const table of ['message_object', 'object', 'virtual_node'] as const)
    counts[table] = (await db.read.selectFrom(table).selectAll().execute()).length
  const apps = await db.read.selectFrom('task').selectAll().where('type', '=', 'flwr-clientapp').execute()
  return { ...counts, task: apps.length }
}
