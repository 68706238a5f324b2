import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Bell } from '../base/bell.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { FreeSpace } from '../base/free-space.ts'
import type { NodeId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { LogThrottle } from '../base/log-throttle.ts'
import { Metrics } from '../base/metrics.ts'
import { SteadyTime } from '../base/steady-time.ts'
import { StorageRoom } from '../base/storage-room.ts'
import { createTemporaryDirectory } from '../base/temporary-directory.ts'
import { openTraces } from '../base/trace-export.ts'
import { trellisVersion } from '../base/version.ts'
import { inMemory, openDatabase } from '../db/database.ts'
import {
  openClientTls,
  openServerTls,
  ownCertificateFault,
  ownCertificates,
  tlsSourceOf,
} from '../identity/tls-reload.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { createObjectStore } from '../objects/object-store.ts'
import { formatAddress, parseAddress } from '../rpc/address.ts'
import { createChannel } from '../rpc/channel.ts'
import { startHealthServer } from '../rpc/health.ts'
import { type Listener, startListener } from '../rpc/listener.ts'
import { tellCertificates, tellFiles } from '../rpc/tls-metrics.ts'
import { createClientAppIoService } from '../tasks/appio-service.ts'
import { runOwnSuperexec } from '../tasks/own-superexec.ts'
import { createRuntimeService } from '../tasks/runtime-service.ts'
import { SuperexecGate } from '../tasks/superexec-auth.ts'
import { traceTask } from '../tasks/task-trace.ts'
import { Tasks } from '../tasks/tasks.ts'
import { completeWork } from './complete-work.ts'
import type { SupernodeConfig } from './config.ts'
import type { SupernodeContext } from './context.ts'
import { FleetClient, isNodeForgotten } from './fleet.ts'
import { sendHeartbeats } from './heartbeats.ts'
import { receiveInstructions } from './receive.ts'
import { Runs } from './runs.ts'
import { createSupernodeBackend } from './runtime-backend.ts'
import { onTaskFinished } from './task-end.ts'
import { WorkBook } from './work.ts'

export interface Supernode {
  readonly nodeId: NodeId
  readonly runtime: Listener
  /** Settles when the node can work no longer: rejects with the reason, resolves when it was stopped. */
  readonly done: Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Builds the whole SuperNode in order and joins the SuperLink; what was built is taken down in reverse. */
export async function startSupernode(
  config: SupernodeConfig,
  log: Logger,
  signal: AbortSignal,
  overrides: { clock?: Clock } = {},
): Promise<Supernode> {
  const clock = overrides.clock ?? systemClock
  const stop = new AbortController()
  const running = stop.signal
  await using stack = new AsyncDisposableStack()

  const metrics = new Metrics()
  const traces = stack.use(await openTraces(config.traceTarget, 'flower-supernode', { log, clock }))
  metrics.onRead(() => metrics.tellStorage(disk, space.disks))
  const onReload = (files: string, result: string): void => metrics.reloads.inc({ files, result })
  const reloadOptions = { clock, log, onReload }
  const tls =
    config.tls === 'insecure'
      ? undefined
      : stack.use(await openClientTls('client certificate', config.tls, reloadOptions))
  // Tells this start of the program from another with the same certificate, over all its connections.
  const self = { 'trellis-process': randomUUID(), 'trellis-release': trellisVersion }
  const channel = stack.use(
    createChannel({
      address: config.superlinkAddress,
      tls: tls ? tlsSourceOf(tls) : 'insecure',
      transport: config.transport,
      component: 'SuperNode',
      headers: () => (tls?.problem ? { ...self, 'trellis-renewal': 'failing' } : self),
    }),
  )
  const forgotten = new LogThrottle(clock)
  const fleet = new FleetClient({ config, channel, clock, log, signal: running })
  const db = stack.use(
    openDatabase({
      path: inMemory,
      onEffectFailed: (error) => log.error('What follows a commit failed', { error: errorText(error) }),
    }),
  )
  const { path: directory } = stack.use(await createTemporaryDirectory('trellis-supernode'))
  const disk = new StorageRoom({ clock, log })
  const time = new SteadyTime({ clock, log })
  const space = new FreeSpace({ clock, log, folders: [directory] })
  const ctx: SupernodeContext = {
    config,
    db,
    objects: await createObjectStore({
      db,
      directory,
      durable: false,
      ...disk.noticesOf(directory),
    }),
    tasks: new Tasks({
      db,
      clock,
      log,
      leaseNow: () => time.now(),
      onFinished: (tx, afterCommit, task) => {
        afterCommit(() => traceTask(traces, task))
        return onTaskFinished(ctx, tx, afterCommit, task)
      },
    }),
    clock,
    log,
    fleet,
    runs: new Runs(fleet, config.nodeConfig, {
      apps: config.apps,
      trusted: config.trustedEntities,
      onStateForgotten: (owner) => {
        const fields = forgotten.admit('state')
        if (fields)
          log.warn('ClientApps keep too much between messages: the oldest was forgotten', { owner, ...fields })
      },
    }),
    work: new WorkBook(),
    room: new Bell(),
    signal: running,
    receiving: AbortSignal.any([signal, running]),
  }
  stack.defer(endAfterWork(ctx, signal, () => stop.abort()))

  const runtimeTls =
    config.runtimeTls &&
    stack.use(await openServerTls('certificate of the Runtime API', config.runtimeTls, reloadOptions))
  const gate = new SuperexecGate(
    { isolation: config.isolation, secret: config.superexecSecret, insecure: config.tls === 'insecure' },
    ctx,
  )
  const runtime = stack.use(await listen(ctx, gate, runtimeTls && tlsSourceOf(runtimeTls)))
  if (config.healthAddress) {
    metrics.watchProcess()
    tellCertificates(metrics, 'own', () => ownCertificates(tls), clock)
    tellFiles(metrics, [tls, runtimeTls])
    const unreadiness = () => disk.trouble ?? ownCertificateFault(tls, clock.now())
    const troubles = () => [tls, runtimeTls].flatMap((set) => set?.troubles() ?? [])
    const health = stack.use(await startHealthServer(config.healthAddress, log, { metrics, unreadiness, troubles }))
    log.info(`Starting gRPC health server on ${formatAddress(health.address)}`)
  }
  await fleet.join()
  log.info(`SuperNode ID: ${fleet.nodeId}`)

  const children = gate.ownSecret ? runSuperexec(ctx, runtime, gate.ownSecret) : Promise.resolve()
  const jobs = [
    staysJoined(ctx, receive),
    staysJoined(ctx, sendHeartbeats),
    ctx.tasks.watchLeases(running),
    disk.watch(async () => {}, running),
    time.watch(() => ctx.tasks.recover('paused'), running),
    space.watch(running),
  ]
  const done = firstEnd(jobs, running).finally(() => stop.abort())
  done.catch(() => {})
  // Taken down first: apps end, the SuperLink hears that we go, then listener and channel close.
  stack.defer(async () => {
    stop.abort()
    await Promise.allSettled([...jobs, children])
    await fleet.leave()
  })
  const owned = stack.move()
  return { nodeId: fleet.nodeId, runtime, done, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Calls `stop` after the signal: at once, or when the instructions under way are replied to if the signal is SIGTERM. */
function endAfterWork(ctx: SupernodeContext, signal: AbortSignal, stop: () => void): () => void {
  const end = (): void => {
    const isPlanned = signal.reason === 'SIGTERM' && ctx.config.drainMs > 0
    void (isPlanned ? completeWork(ctx) : Promise.resolve()).finally(stop)
  }
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  return () => signal.removeEventListener('abort', end)
}

async function listen(ctx: SupernodeContext, gate: SuperexecGate, tls: TlsSource | undefined): Promise<Listener> {
  const { config, clock, log } = ctx
  const { host } = parseAddress(config.runtimeAddress, 'The address for apps')
  const api = {
    tasks: ctx.tasks,
    backend: createSupernodeBackend(ctx),
    clock,
    checkSuperexec: gate.checkAt(host),
    files: ctx.objects,
  }
  const services = [createRuntimeService(api), createClientAppIoService(api)]
  const runtime = await startListener({
    name: 'Runtime API',
    address: config.runtimeAddress,
    services,
    log,
    ...(tls ? { tls } : {}),
  })
  log.info(`Starting Runtime API on ${formatAddress(runtime.address)}`)
  return runtime
}

function runSuperexec(
  { config, clock, log, signal }: SupernodeContext,
  { address }: Listener,
  secret: Uint8Array,
): Promise<void> {
  const { python, dependencyInstallation, runtimeTls, log: logSettings, traceTarget } = config
  const about = { address, caFile: runtimeTls?.caFile.path, secret, python, keepImports: false, dependencyInstallation }
  return runOwnSuperexec({ ...about, logSettings, traceTarget, clock, log, signal })
}

/** When no more instructions are received, those under way go on until the program stops. */
async function receive(ctx: SupernodeContext): Promise<void> {
  await receiveInstructions(ctx).catch((error: unknown) => {
    if (!ctx.receiving.aborted) throw error
  })
  if (!ctx.signal.aborted) await once(ctx.signal, 'abort')
}

/** A SuperLink that lost its state does not know this node any more: it joins again, as a new node if need be. */
async function staysJoined(ctx: SupernodeContext, job: (ctx: SupernodeContext) => Promise<void>): Promise<void> {
  for (;;) {
    const { nodeId } = ctx.fleet
    try {
      return await job(ctx)
    } catch (error) {
      if (ctx.signal.aborted || !isNodeForgotten(error)) throw error
      ctx.log.warn(`The SuperLink does not know node ${nodeId} any more: joining again`)
      await ctx.clock.sleep(rejoinPauseMs, ctx.signal)
      await ctx.fleet.rejoin(nodeId)
      ctx.runs.forgetAll()
      ctx.log.info(`SuperNode ID: ${ctx.fleet.nodeId}`)
    }
  }
}

/** Bounds how fast a SuperLink can make a node join again and again. */
const rejoinPauseMs = 1000

/** The jobs run until the signal. One that ends before has failed, and then the node has. */
async function firstEnd(jobs: readonly Promise<void>[], signal: AbortSignal): Promise<void> {
  try {
    await Promise.race(jobs)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
