import { dirname } from 'node:path'
import { leaveChild } from '../base/child-program.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { FreeSpace } from '../base/free-space.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { giveBackMemory } from '../base/memory-at-rest.ts'
import { Metrics } from '../base/metrics.ts'
import { SteadyTime } from '../base/steady-time.ts'
import { StorageRoom } from '../base/storage-room.ts'
import { openTraces } from '../base/trace-export.ts'
import { forgetPendingValues, watchForgottenParts } from '../db/large-values.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { type AuditLog, createAuditLog } from '../identity/audit.ts'
import { onOperatorSignal } from '../identity/operator-signal.ts'
import { ownCertificateFault } from '../identity/tls-reload.ts'
import { formatAddress, parseAddress } from '../rpc/address.ts'
import { BodyBudget } from '../rpc/body-budget.ts'
import { Drain } from '../rpc/drain.ts'
import { type Listener, startListener } from '../rpc/listener.ts'
import type { Service } from '../rpc/service.ts'
import { tellFiles } from '../rpc/tls-metrics.ts'
import { createClientAppIoService, createServerAppIoService } from '../tasks/appio-service.ts'
import { createRuntimeService } from '../tasks/runtime-service.ts'
import { SuperexecGate } from '../tasks/superexec-auth.ts'
import { Tasks } from '../tasks/tasks.ts'
import { Participants } from './access/participants.ts'
import { SecurityView } from './access/security-view.ts'
import { claimAddressFile } from './address-file.ts'
import { createControlService } from './api/control.ts'
import { createFleetService, createNoFleetService } from './api/fleet.ts'
import { fleetInterceptors } from './api/fleet-interceptors.ts'
import { logControlCalls } from './api/log-control-calls.ts'
import { openScreens } from './api/open-screens.ts'
import { createSuperlinkBackend } from './api/runtime-backend.ts'
import { listenForApps } from './apps/app-listener.ts'
import { noteAppsEnded, takeAppsOfLastStart } from './apps/kept-apps.ts'
import { runSuperexec } from './apps/run-superexec.ts'
import { runJob } from './background-job.ts'
import { completeCalls } from './complete-calls.ts'
import type { SuperlinkConfig } from './config.ts'
import { createBells, type SuperlinkContext } from './context.ts'
import { certificatesInUse, openCredentials, watchPeers, watchResponders } from './credentials.ts'
import { CheckedReplies } from './delivery/checked-replies.ts'
import { Claims } from './delivery/claims.ts'
import { watchDeadlines } from './delivery/deadlines.ts'
import { complete } from './delivery/life.ts'
import { PassingReplies } from './delivery/passing-replies.ts'
import { recoverDelivery } from './delivery/recover.ts'
import { ReplyIntake } from './delivery/replies.ts'
import { watchStalledReplies } from './delivery/stalled-replies.ts'
import { EventLog } from './events/event-log.ts'
import { openEventSources } from './events/event-sources.ts'
import { IdleWatch } from './idle.ts'
import { createListen } from './listen.ts'
import { KnownNodes } from './nodes/known-nodes.ts'
import { LiveNodes } from './nodes/live-nodes.ts'
import { prolongOnline } from './nodes/nodes.ts'
import { joinedNodes } from './nodes/run-nodes.ts'
import { Uploads } from './nodes/uploads.ts'
import { openObjects } from './open-objects.ts'
import { openState } from './open-state.ts'
import { prolongLeases } from './prolong-leases.ts'
import { noteRefusals, tellQuotas } from './quotas/quota-metrics.ts'
import { Quotas } from './quotas/quotas.ts'
import { CheckpointUploads } from './runs/checkpoint-pieces.ts'
import { prepareRestart } from './runs/checkpoints.ts'
import { onTaskFinished } from './runs/finish.ts'
import { RunProgress } from './runs/progress.ts'
import { watchRetention } from './runs/retention.ts'
import { traceRuns } from './runs/run-traces.ts'
import { Traffic } from './runs/traffic.ts'
import { watchWaits } from './runs/watch-waits.ts'
import { byTaskType, createVirtualBackend } from './simulation/client-backend.ts'
import { thisMachine } from './simulation/machine.ts'
import { VirtualFleet } from './simulation/virtual-fleet.ts'
import { SuperlinkHealth } from './superlink-health.ts'
import { WorkMetrics } from './work-metrics.ts'

export interface Superlink {
  /** Where nodes are simulated there is no Fleet API: then this is `main`. */
  readonly fleet: Listener
  readonly control: Listener
  /** Serves every API, and the Runtime API of our own SuperExec. */
  readonly main: Listener
  /** Set with `--dashboard-address`. */
  readonly screens: Listener | undefined
  /** Resolves when no program uses this SuperLink any more, if it shall end then; else never. */
  readonly idle: Promise<void>
  /** Resolves with a sentence when another SuperLink has taken the database over; else never. */
  readonly takenOver: Promise<string>
  /** Takes no more calls, and lets those under way complete, for at most `--drain-timeout`. */
  drain(): Promise<void>
  /** Leaves the ServerApps under way to the next start of this SuperLink, if it can keep them. */
  leaveApps(): void
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Builds the whole SuperLink in order; what was built is taken down in reverse. `signal` ends the wait for a database server,
 * or for another SuperLink, which `onStandby` notes; a clock is for tests.
 */
export async function startSuperlink(
  config: SuperlinkConfig,
  log: Logger,
  overrides: { clock?: Clock; signal?: AbortSignal; onStandby?: () => void; listDirectory?: string | undefined } = {},
): Promise<Superlink> {
  const { clock = systemClock, listDirectory } = overrides
  const stop = new AbortController()
  await using stack = new AsyncDisposableStack()
  const addressFile = config.addressFile === undefined ? undefined : stack.use(claimAddressFile(config.addressFile))
  const bells = createBells()
  const time = new SteadyTime({ clock, log })
  const room = new StorageRoom({ clock, log, leaseClock: time, onChange: () => bells.runs.ringAll() })
  const metrics = new Metrics()
  const work = new WorkMetrics(metrics)
  const traces = stack.use(await openTraces(config.traceTarget, 'flower-superlink', { log, clock }))
  const observer = { ...work.observer, ...traceRuns(traces) }
  const { database, appioAddress } = config
  const health = stack.use(new SuperlinkHealth({ address: config.healthAddress, log, metrics }))
  const audit = stack.use(createAuditLog(config.auditFile, { clock, log }))
  stack.use(onOperatorSignal('SIGUSR1', audit.reopen))
  // A standby follows changes of these files, so that it takes over with the last good ones.
  const credentials = await openCredentials(config, { clock, log, metrics, listDirectory }, stack)
  if (database.engine === 'postgres') await health.start()
  const { promise: takenOver, resolve: onTakenOver } = Promise.withResolvers<string>()
  const waiting = { onTakenOver, onStandby: overrides.onStandby, signal: overrides.signal }
  const db = stack.use(await openState(config, { room, log, health, onCommit: work.onCommit, ...waiting }))
  credentials.removeOtherLists()
  // What is simulated can be simulated again.
  const durable = database.engine !== 'memory' && !config.simulation
  const objects = await openObjects(config, stack, {
    ...{ db, clock, log, health, metrics, durable, signal: overrides.signal },
    noticesOf: (folder) => room.noticesOf(folder),
    onStored: (...stored) => complete({ bells, runNodes: ctx.runNodes }, ...stored),
  })
  const machine = thisMachine()
  const simulation = config.simulation ? { machine, fleet: new VirtualFleet(() => ctx, db.read, machine) } : undefined
  const folders = [...(database.engine === 'sqlite' ? [dirname(database.path)] : []), objects.directory]
  const space = new FreeSpace({ clock, log, folders })
  const knownNodes = new KnownNodes(db)
  const ctx: SuperlinkContext = {
    db,
    objects: objects.store,
    room,
    clock,
    log,
    quotas: new Quotas({ db, clock, limits: config.quotas, onRefused: noteRefusals(metrics, { log, clock }) }),
    tasks: new Tasks({
      db,
      clock,
      log,
      leaseNow: () => room.leaseNow(),
      mayGoOn: (tx, afterCommit, lost) => prepareRestart(ctx, tx, afterCommit, lost),
      onFinished: (tx, afterCommit, task) => {
        afterCommit(() => observer.ended(task))
        return onTaskFinished(ctx, tx, afterCommit, task)
      },
    }),
    bells,
    events: new EventLog({ db, clock, bells, hasWebhook: config.webhook !== undefined }),
    traffic: new Traffic(db, observer),
    progress: new RunProgress(observer),
    claims: new Claims(() => ctx),
    replyIntake: new ReplyIntake(() => ctx),
    passingReplies: new PassingReplies(),
    checkedReplies: new CheckedReplies(),
    runNodes: simulation?.fleet ?? joinedNodes({ db, room, bells, knownNodes }),
    simulation,
    security: new SecurityView(clock),
    participants: new Participants(db),
    knownNodes,
    liveNodes: new LiveNodes(),
    uploads: new Uploads(),
    checkpointUploads: new CheckpointUploads(),
    requireCertificates: config.clients.mode === 'require',
    supernodeAuth: config.supernodeAuth,
    unprovenNodes: config.unprovenNodes,
  }
  stack.defer(() => ctx.traffic.flush())
  stack.defer(() => knownNodes.flush())
  await ctx.tasks.recover(await takeAppsOfLastStart(ctx, config))
  await forgetPendingValues(db)
  await recoverDelivery(ctx)
  await prolongOnline(ctx)

  const fleet = simulation ? createNoFleetService() : createFleetService(ctx)
  const idleWatch =
    config.idleMs === undefined ? undefined : new IdleWatch({ tasks: ctx.tasks, clock, idleMs: config.idleMs })
  const control = createControlService(ctx)
  const gate = new SuperexecGate(
    { isolation: config.isolation, secret: config.superexecSecret, insecure: config.tls === undefined },
    ctx,
  )
  const backend = simulation
    ? byTaskType(createSuperlinkBackend(ctx), createVirtualBackend(ctx, simulation.fleet))
    : createSuperlinkBackend(ctx)
  // Both generations; ClientApps come here where nodes are virtual.
  const appsAt = (address: string): Service[] => {
    const { host } = parseAddress(address, 'The address for apps')
    const api = { tasks: ctx.tasks, backend, clock, files: ctx.objects, checkSuperexec: gate.checkAt(host) }
    return [
      createRuntimeService(api),
      createServerAppIoService(api),
      ...(simulation ? [createClientAppIoService(api)] : []),
    ]
  }
  const bodyBudget = new BodyBudget(limits)
  const drain = new Drain()
  tellQuotas(metrics, ctx.quotas)
  metrics.onRead(() => {
    metrics.bodyBytes.set(bodyBudget.requests.bytesTaken)
    metrics.responseBytes.set(bodyBudget.responses.bytesTaken)
    metrics.tellStorage(room, space.disks)
    for (const { kind } of ctx.progress.waits.known.values()) metrics.runsWaiting.inc({ reason: kind })
  })
  ctx.security.certificates = () => certificatesInUse(credentials)
  const eventSources = openEventSources(ctx, { webhook: config.webhook, metrics, troubles: credentials.troubles })
  const noteDecision: AuditLog = (entry) => {
    ctx.security.note(entry)
    eventSources.noteRefusal(entry)
    audit.write(entry)
  }
  const listen = createListen(config, credentials, ctx, metrics, {
    audit: noteDecision,
    bodyBudget,
    drain,
    interceptors: [
      ...(addressFile ? [addressFile.guard(Control.typeName)] : []),
      ...(idleWatch ? [idleWatch.interceptor(Control.typeName)] : []),
      logControlCalls(log),
      ...fleetInterceptors(ctx),
    ],
  })
  const controlListener = stack.use(await listen('Control API', config.controlAddress, [control], 'cli'))
  const fleetListener = simulation
    ? undefined
    : stack.use(await listen('Fleet API', config.fleetAddress, [fleet], 'supernode'))
  // Apps have no certificate but a token; Fleet and Control demand one here too, call by call.
  const main = stack.use(await listen('API', config.address, [fleet, control, ...appsAt(config.address)], undefined))
  const screenOptions = { control, audit: noteDecision, drain, listen }
  const screens = stack.use(config.dashboard && (await openScreens(ctx, config.dashboard, screenOptions)))
  // Without TLS, which the apps of Flower 1.29 do not speak: on this machine alone, unless an address was given.
  const listenPlain = (address: string) =>
    startListener({ name: 'ServerAppIo API', address, services: appsAt(address), bodyBudget, drain, log })
  const ownApps = config.isolation === 'subprocess' && config.tls ? () => listenForApps(ctx, listenPlain) : undefined
  const plainApps = stack.use(await (appioAddress === undefined ? ownApps?.() : listenPlain(appioAddress)))
  if (plainApps) log.info(`Flower Deployment Runtime: Starting ServerAppIo API on ${formatAddress(plainApps.address)}`)
  const listeners = { control: controlListener, fleet: fleetListener ?? main, main, screens }
  if (config.healthAddress) {
    metrics.watchProcess()
    work.watch(db, { path: database.engine === 'sqlite' ? database.path : undefined, clock })
    tellFiles(metrics, [credentials.server, credentials.clients])
  }
  const unreadiness = () =>
    drain.trouble ?? room.trouble ?? objects.trouble ?? ownCertificateFault(credentials.server, clock.now())
  health.check({ unreadiness, troubles: credentials.troubles })
  await health.start()

  const doors = [...new Set(Object.values(listeners).filter((one) => one !== undefined))]
  const connections = (): number => doors.reduce((sum, one) => sum + one.connections().length, 0)
  const jobs = [
    runJob(ctx, 'storage watch', () => room.watch(() => prolongLeases(ctx), stop.signal)),
    runJob(ctx, 'clock watch', () => time.watch(() => prolongLeases(ctx), stop.signal)),
    runJob(ctx, 'free space watch', () => space.watch(stop.signal)),
    runJob(ctx, 'lease watch', () => ctx.tasks.watchLeases(stop.signal)),
    runJob(ctx, 'deadline watch', () => watchDeadlines(ctx, stop.signal)),
    runJob(ctx, 'wait watch', () => watchWaits(ctx, stop.signal)),
    runJob(ctx, 'removal of old runs', () => watchRetention(ctx, config.keepRuns, stop.signal)),
    runJob(ctx, 'removal of large values', () => watchForgottenParts(ctx, stop.signal)),
    runJob(ctx, 'reply watch', () => watchStalledReplies(ctx, stop.signal, () => objects.trouble !== undefined)),
    runJob(ctx, 'memory watch', () => giveBackMemory({ clock, connections, onRest: () => db.shrink?.() }, stop.signal)),
    ...eventSources.start(stop.signal),
    ...objects.start(stop.signal),
  ]
  const { clients, ocsp } = credentials
  if (clients) jobs.push(runJob(ctx, 'peer watch', () => watchPeers(ctx, clients, doors, stop.signal)))
  if (ocsp) jobs.push(runJob(ctx, 'OCSP watch', () => watchResponders(ctx, ocsp, doors, stop.signal)))
  if (simulation) jobs.push(runJob(ctx, 'virtual fleet', () => simulation.fleet.run(stop.signal)))
  if (gate.ownSecret) jobs.push(runSuperexec(config, ctx, plainApps ?? main, gate.ownSecret, stop.signal))
  let keepsApps = false
  // Taken down first: jobs end, held calls are answered, then listeners close.
  stack.defer(async () => {
    stop.abort(keepsApps ? leaveChild : undefined)
    for (const bell of Object.values(ctx.bells)) bell.ringAll()
    await Promise.all(jobs)
    if (gate.ownSecret && !keepsApps) await noteAppsEnded(ctx)
  })
  addressFile?.write(formatAddress(controlListener.address))
  const idle = idleWatch?.wait(stop.signal) ?? new Promise<void>(() => {})
  const owned = stack.move()
  const all = [...doors, ...(plainApps ? [plainApps] : [])]
  const drainCalls = (): Promise<void> => completeCalls(ctx, drain, all, config.drainMs)
  const leaveApps = (): void => {
    keepsApps = config.keepAppsMinutes > 0
  }
  const dispose = (): Promise<void> => owned.disposeAsync()
  return { ...listeners, idle, takenOver, drain: drainCalls, leaveApps, [Symbol.asyncDispose]: dispose }
}
