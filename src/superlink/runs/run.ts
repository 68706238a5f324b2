import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { isoTimestamp } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import type { RunId, SeriesId, TaskId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { UserConfig } from '../../base/user-config.ts'
import type { Db } from '../../db/database.ts'
import { StartRunRequestSchema } from '../../gen/flwr/proto/control_pb.ts'
import type { SimulationConfig } from '../../gen/flwr/proto/federation_config_pb.ts'
import { type RunSchema, StoredAppConfigSchema } from '../../gen/flwr/proto/run_pb.ts'
import { userConfigFromWire, userConfigToWire } from '../../message/wire.ts'
import type { Task, TaskStatus, TaskSubStatus } from '../../tasks/task.ts'
import { toTask } from '../../tasks/task-store.ts'
import { decodeSettings } from '../simulation/settings-store.ts'
import * as runStore from './run-store.ts'
import type { Wait } from './waits.ts'

/** A run with its primary task, whose status is the status of the run. */
export interface Run {
  readonly runId: RunId
  readonly seriesId: SeriesId
  readonly fabId: string
  readonly fabVersion: string
  readonly fabHash: string
  readonly overrideConfig: UserConfig
  /** As stored, with the configuration of the app behind the overrides. */
  readonly storedConfig: Uint8Array
  readonly federation: string
  readonly ownerAid: string
  readonly ownerName: string
  /** Empty unless a certificate named one. */
  readonly ownerOrganization: string
  readonly bytesSent: number
  readonly bytesRecv: number
  readonly clientappRuntime: number
  /** Set when virtual nodes work for it. */
  readonly simulation: SimulationConfig | undefined
  readonly task: Task
}

export async function findRun(db: Db, runId: RunId): Promise<Run | undefined> {
  const row = await runStore.find(db, runId)
  return row && toRun(row)
}

/** Throws `run-not-running` with Flower's words for the status. */
export async function ensureRunRunning(db: Db, runId: RunId): Promise<Run> {
  const run = await findRun(db, runId)
  if (run?.task.status === 'running') return run
  throw notRunning(runId, run?.task)
}

/**
 * Throws `run-not-running` if the run has ended. Every transaction that stores something of a run asks this first: all that
 * a run has is forgotten in the transaction that ends it, so that nothing may be stored after it.
 */
export async function ensureRunOpen(tx: Db, runId: RunId): Promise<void> {
  if (!(await isRunOpen(tx, runId))) throw notRunning(runId, await findTaskStatus(tx, runId))
}

/** As `ensureRunOpen`, for rules that leave something undone instead of refusing it. */
export async function isRunOpen(tx: Db, runId: RunId): Promise<boolean> {
  const task = await findTaskStatus(tx, runId)
  return task !== undefined && task.status !== 'finished'
}

/** Whether a run has ended. One that was removed has, too. */
export async function hasFinished(db: Db, runId: RunId): Promise<boolean> {
  return !(await isRunOpen(db, runId))
}

async function findTaskStatus(db: Db, runId: RunId): Promise<Pick<Task, 'status' | 'subStatus'> | undefined> {
  const row = await runStore.findStatus(db, runId)
  return row && { status: row.status as TaskStatus, subStatus: row.sub_status as TaskSubStatus }
}

function notRunning(runId: RunId, task: Pick<Task, 'status' | 'subStatus'> | undefined): DomainError {
  if (!task) return new DomainError('run-not-running', `Run ID not found: ${runId}`)
  const stopped = task.subStatus === 'stopped' ? ' Stopped by user.' : ''
  return new DomainError('run-not-running', `Run is ${task.status}.${stopped}`)
}

export function toRun(row: runStore.RunRow): Run {
  return {
    runId: row.run_id as RunId,
    seriesId: row.series_id as SeriesId,
    fabId: row.fab_id,
    fabVersion: row.fab_version,
    fabHash: row.fab_hash,
    overrideConfig: decodeOverrides(row.override_config),
    storedConfig: row.override_config,
    federation: row.federation,
    ownerAid: row.owner_aid,
    ownerName: row.owner_name,
    ownerOrganization: row.owner_organization,
    bytesSent: row.bytes_sent,
    bytesRecv: row.bytes_recv,
    clientappRuntime: row.clientapp_runtime,
    simulation: row.simulation ? decodeSettings(row.simulation) : undefined,
    task: toTask({ ...row, run_id: row.run_id, task_id: row.primary_task_id as TaskId }),
  }
}

/**
 * As `runToWire`, for users: with the configuration of the app, which apps read from the app itself.
 *
 * @param wait what the run waits for, if that is to be shown.
 */
export function runToView(run: Run, wait?: Wait): MessageInitShape<typeof RunSchema> {
  const { appConfig } = fromBinary(StoredAppConfigSchema, run.storedConfig, { readUnknownFields: false })
  return { ...runToWire(run, wait), appConfig }
}

/** @param wait what the run waits for, if that is to be shown. */
export function runToWire(run: Run, wait?: Wait): MessageInitShape<typeof RunSchema> {
  const { task } = run
  const at = (instant: number | undefined): string => (instant === undefined ? '' : isoTimestamp(instant))
  return {
    runId: run.runId,
    fabId: run.fabId,
    fabVersion: run.fabVersion,
    overrideConfig: userConfigToWire(run.overrideConfig),
    fabHash: run.fabHash,
    pendingAt: at(task.pendingAt),
    startingAt: at(task.startingAt),
    runningAt: at(task.runningAt),
    finishedAt: at(task.finishedAt),
    status: { status: task.status, subStatus: task.subStatus, details: task.details },
    flwrAid: run.ownerAid,
    federation: run.federation,
    bytesSent: BigInt(run.bytesSent),
    bytesRecv: BigInt(run.bytesRecv),
    clientappRuntime: run.clientappRuntime,
    primaryTaskType: run.simulation ? 'flwr-simulation' : task.type,
    primaryTaskId: task.taskId,
    seriesId: run.seriesId,
    accountName: run.ownerName,
    ...(run.ownerOrganization === '' ? {} : { organization: run.ownerOrganization }),
    ...(wait ? { waitingFor: wait.what, waitingSince: isoTimestamp(wait.sinceAt), waitingRemedy: wait.remedy } : {}),
  }
}

/** A long configuration of an app is not kept: it is in the app, and here only to be shown. Users see a note in its place. */
export function encodeConfig(overrides: UserConfig, app: UserConfig): Uint8Array {
  const overrideConfig = userConfigToWire(overrides)
  const stored = toBinary(StartRunRequestSchema, create(StartRunRequestSchema, { overrideConfig }))
  const shown = encodeShown(app)
  return Buffer.concat([stored, shown.length > limits.appConfigShownBytesMax ? encodeShown(tooLongConfig) : shown])
}

const tooLongConfig: UserConfig = { 'configuration of the app': 'too long to be shown' }

function encodeShown(app: UserConfig): Uint8Array {
  return toBinary(StoredAppConfigSchema, create(StoredAppConfigSchema, { appConfig: userConfigToWire(app) }))
}

function decodeOverrides(bytes: Uint8Array): UserConfig {
  const { overrideConfig } = fromBinary(StartRunRequestSchema, bytes, { readUnknownFields: false })
  return userConfigFromWire(overrideConfig)
}
