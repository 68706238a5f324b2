import { formatByteSize } from '../../base/byte-size.ts'
import type { Clock } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { Database, Db } from '../../db/database.ts'
import type { CarriedObjects } from '../../objects/carried-objects.ts'
import { isAvailable } from '../../objects/object-rows.ts'
import { type ObjectTree, treeSize } from '../../objects/object-tree.ts'
import * as taskStore from '../../tasks/task-store.ts'
import type { QuotaLimits } from './config-quotas.ts'
import { TakenRoom } from './taken-room.ts'
import * as usageStore from './usage-store.ts'

/**
 * Refuses what would exceed a quota. What is taken is added to a count in memory, and what is released is not subtracted: the
 * count is at least what is stored. Before a refusal, the database is counted, so the count is right after a restart, a crash
 * and a release. Calls that are refused can be repeated: other runs go on, and messages that are received make room.
 */
export class Quotas {
  readonly limits: QuotaLimits
  readonly #db: Pick<Database, 'read'>
  readonly #clock: Pick<Clock, 'now'>
  readonly #usages = new Map<string, Usage>()
  readonly #refusals = new Map<RunId, Refusal>()
  readonly #onRefused: (name: QuotaName, sentence: string) => void
  readonly #noted = new Set<RunId>()

  constructor(options: {
    db: Pick<Database, 'read'>
    clock: Pick<Clock, 'now'>
    limits: QuotaLimits
    onRefused?: (name: QuotaName, sentence: string) => void
  }) {
    this.#db = options.db
    this.#clock = options.clock
    this.limits = options.limits
    this.#onRefused = options.onRefused ?? (() => {})
  }

  /**
   * Takes room for bytes of a run, which a SuperNode or its ServerApp sends. They are in flight until the returned value is
   * disposed of, which is to happen once they are stored or refused. Throws `quota-reached`.
   *
   * A message frees its room once it was received, so messages that stop halfway could fill a quota for ever. Therefore the
   * oldest of these may exceed it. An object that is stored already takes no room.
   *
   * @param owner with `objectId`, if the bytes are an object that a message announced.
   */
  takeBytes(owner: BytesOwner, bytes: number): Promise<Disposable> {
    const { disk, runDisk, nodeDisk } = this.limits
    const { runId, nodeId, objectId } = owner
    const scopes: Scope[] = [
      { name: 'disk', key: 'disk', max: disk, count: usageStore.countDiskBytes, of: {} },
      {
        ...({ name: 'run-disk', key: `run ${runId}`, max: runDisk, of: { runId } } as const),
        count: (db) => usageStore.countRunBytes(db, runId),
      },
    ]
    if (nodeId !== undefined)
      scopes.push({
        ...({ name: 'node-disk', key: `node ${nodeId}`, max: nodeDisk, of: { nodeId } } as const),
        count: (db) => usageStore.countNodeBytes(db, nodeId),
      })
    return this.#take(runId, bytes, scopes, objectId)
  }

  /** As `takeBytes`, for objects that came with their messages. */
  takeCarried(owner: Omit<BytesOwner, 'objectId'>, carried: CarriedObjects): Promise<Disposable> {
    let bytes = 0
    for (const object of carried.values()) bytes += object.bytes.length
    return this.takeBytes(owner, bytes)
  }

  /** As `takeBytes`, for data of a run other than messages. */
  takeDisk(runId: RunId, bytes: number): Promise<TakenRoom> {
    return this.#take(runId, bytes, [
      { name: 'disk', key: 'disk', max: this.limits.disk, count: usageStore.countDiskBytes },
    ])
  }

  /** As `takeBytes`, for the objects that messages of a run name. */
  takeMessages(runId: RunId, trees: readonly ObjectTree[]): Promise<Disposable> {
    const count = trees.reduce((sum, tree) => sum + treeSize(tree), 0)
    const max = this.limits.runObjects
    return this.#take(runId, count, [
      { name: 'run-objects', key: `objects ${runId}`, max, count: (db) => usageStore.countRunObjects(db, runId) },
    ])
  }

  /** Throws `too-many-runs` if one more run would exceed the quota. What counts is the look within the transaction that starts it. */
  async ensureRoomForRun(db: Db): Promise<void> {
    const { runs: max } = this.limits
    const open = await countOpenRuns(db)
    if (open < max) return
    const sentence = `${open} runs have not finished, as many as --quota-runs of the SuperLink allows: wait for one to finish, or stop one with flwr stop.`
    this.#onRefused('runs', sentence)
    throw new DomainError('too-many-runs', sentence)
  }

  /** Whether this is the first time that a note about events is due for the run. */
  isFirstNote(runId: RunId): boolean {
    const isFirst = !this.#noted.has(runId)
    this.#noted.add(runId)
    return isFirst
  }

  /** Returns the last refusal of a call that this run needs, unless it is too old to be shown. */
  findRefusal(runId: RunId): Refusal | undefined {
    const refusal = this.#refusals.get(runId)
    if (!refusal) return undefined
    if (Math.abs(this.#clock.now() - refusal.lastAt) <= limits.quotaRefusalShownMs) return refusal
    this.#refusals.delete(runId)
    return undefined
  }

  forgetRun(runId: RunId): void {
    this.#refusals.delete(runId)
    this.#noted.delete(runId)
    this.#usages.delete(`run ${runId}`)
    this.#usages.delete(`objects ${runId}`)
  }

  /** Returns the limit of each quota and how much of it is used: by the run or SuperNode that uses most. */
  async list(): Promise<readonly QuotaUse[]> {
    const { disk, runDisk, nodeDisk, runObjects, runs } = this.limits
    const uses: [QuotaName, number | undefined, number][] = [
      ['disk', disk, disk === undefined ? 0 : await usageStore.countDiskBytes(this.#db.read)],
      ['run-disk', runDisk, await this.#mostOf('run ', runDisk)],
      ['node-disk', nodeDisk, await this.#mostOf('node ', nodeDisk)],
      ['run-objects', runObjects, await this.#mostOf('objects ', runObjects)],
      ['runs', runs, await countOpenRuns(this.#db.read)],
    ]
    return uses.flatMap(([name, limit, used]) => (limit === undefined ? [] : [{ name, limit, used }]))
  }

  /** Counts anew what has grown by a tenth of the quota since it was counted, because released bytes are not subtracted. */
  async #mostOf(prefix: string, max = 0): Promise<number> {
    for (let counts = 0; ; counts++) {
      const known = [...this.#usages].filter(([key, { used }]) => key.startsWith(prefix) && Number.isFinite(used))
      const most = known.toSorted(([, one], [, other]) => other.used - one.used)[0]?.[1]
      if (!most) return 0
      if (counts === mostCounts || most.used - most.counted <= max / 10) return most.used
      most.counting ??= this.#countAnew(most)
      await most.counting
    }
  }

  async #take(runId: RunId, amount: number, scopes: readonly Scope[], objectId?: string): Promise<TakenRoom> {
    if (amount === 0) return nothingTaken
    const limited = scopes.filter((scope): scope is LimitedScope => scope.max !== undefined)
    for (const scope of limited) await this.#count(scope, amount)
    const isFull = (scope: LimitedScope): boolean => this.#usageOf(scope).used + amount > scope.max
    const excused = new Set<LimitedScope>()
    if (objectId !== undefined && limited.some(isFull)) {
      if (await isAvailable(this.#db.read, objectId)) return nothingTaken
      for (const scope of limited)
        if (isFull(scope) && (await mayExceed(this.#db.read, scope, objectId))) excused.add(scope)
    }
    // No turn of the event loop between this look and the addition.
    const usages = limited.map((scope) => ({ scope, usage: this.#usageOf(scope) }))
    const full = usages.find(({ scope }) => isFull(scope) && !excused.has(scope))
    if (full) throw this.#refuse(runId, full.scope, full.usage.used)
    for (const { usage } of usages) {
      usage.used += amount
      usage.inFlight += amount
    }
    return new TakenRoom(
      amount,
      usages.map(({ usage }) => usage),
    )
  }

  /** Counts anew if nothing is known, or if the known count leaves no room; not more often than every few seconds. */
  async #count(scope: LimitedScope, amount: number): Promise<void> {
    const usage = this.#usageOf(scope)
    const now = this.#clock.now()
    const isStale = usage.used + amount > scope.max && Math.abs(now - usage.countedAt) >= limits.quotaCountEveryMs
    if (isStale) usage.counting ??= this.#countAnew(usage)
    await usage.counting
  }

  async #countAnew(usage: Usage): Promise<void> {
    try {
      usage.counted = await usage.count(this.#db.read)
      usage.used = usage.counted + usage.inFlight
      usage.countedAt = this.#clock.now()
    } finally {
      usage.counting = undefined
    }
  }

  #usageOf({ key, count }: Scope): Usage {
    const known = this.#usages.get(key)
    if (known) return known
    // Counted at the first use: nothing fits until then.
    const usage: Usage = {
      used: Number.POSITIVE_INFINITY,
      inFlight: 0,
      counted: 0,
      count,
      countedAt: Number.NEGATIVE_INFINITY,
      counting: undefined,
    }
    if (this.#usages.size >= limits.quotaUsagesMax) this.#forgetOne()
    this.#usages.set(key, usage)
    return usage
  }

  #forgetOne(): void {
    for (const [key, { inFlight, counting }] of this.#usages) {
      if (inFlight > 0 || counting) continue
      this.#usages.delete(key)
      return
    }
  }

  #refuse(runId: RunId, { name, max }: LimitedScope, used: number): DomainError {
    const now = this.#clock.now()
    const unit = name === 'run-objects' ? String : formatByteSize
    const what = {
      disk: 'What all runs have stored',
      'run-disk': `The models and messages of run ${runId}`,
      'node-disk': 'What this SuperNode has sent and no ServerApp has received yet',
      'run-objects': `The messages of run ${runId}`,
      runs: 'The runs',
    }[name]
    const sentence = `${what} may take ${unit(max)}${name === 'run-objects' ? ' objects' : ''} (--quota-${name} of the SuperLink), and ${unit(Math.min(used, max))} are taken: this is tried again until there is room.`
    this.#onRefused(name, sentence)
    const sinceAt = this.findRefusal(runId)?.sinceAt ?? now
    this.#refusals.set(runId, { name, used: unit(Math.min(used, max)), max: unit(max), sinceAt, lastAt: now })
    return new DomainError('quota-reached', sentence)
  }
}

/** How many runs or SuperNodes are counted anew for one look at the metrics. */
const mostCounts = 5

export type QuotaName = 'disk' | 'run-disk' | 'node-disk' | 'run-objects' | 'runs'

export interface QuotaUse {
  readonly name: QuotaName
  readonly limit: number
  readonly used: number
}

export interface Refusal {
  readonly name: QuotaName
  readonly used: string
  readonly max: string
  readonly sinceAt: number
  readonly lastAt: number
}

interface Usage {
  readonly count: (db: Db) => Promise<number>
  /** At least what is stored and in flight. */
  used: number
  /** Taken, and perhaps not stored yet: a count of the database may miss it. */
  inFlight: number
  counted: number
  countedAt: number
  counting: Promise<void> | undefined
}

interface Scope {
  readonly name: QuotaName
  readonly key: string
  readonly max: number | undefined
  readonly count: (db: Db) => Promise<number>
  /** The oldest message of these that is half uploaded may exceed the quota. */
  readonly of?: { readonly runId?: RunId; readonly nodeId?: NodeId }
}

type LimitedScope = Scope & { readonly max: number }

interface BytesOwner {
  readonly runId: RunId
  readonly nodeId?: NodeId
  readonly objectId?: string
}

const nothingTaken = new TakenRoom(0, [])

async function mayExceed(db: Db, { of }: Scope, objectId: string): Promise<boolean> {
  return of !== undefined && usageStore.isPartOfOldestUpload(db, { ...of, objectId })
}

async function countOpenRuns(db: Db): Promise<number> {
  let count = 0
  for (const open of (await taskStore.countOpen(db, 'flwr-serverapp')).values()) count += open
  return count
}
