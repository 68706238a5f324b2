import { performance } from 'node:perf_hooks'
import type { Clock } from './clock.ts'

/**
 * Gives memory back to the system when a program that stays is at rest. Below a size V8 collects new objects alone
 * (`bin/node.sh`), so that a busy program is fast. What is garbage after a busy time, and what V8 has reserved for it, would stay
 * until the program is busy again.
 */

/** How long the thread is observed. A program at rest works at most in this share of that time. */
const lookMs = 5000
const restingShareMax = 0.08
/** A program at rest makes garbage as well, which is left until it is worth a collection. */
const growthBytesMin = 8 * 1024 * 1024
/**
 * A collection that gives memory back looks at all objects in use twice, at once: about 100 ms for so many. A larger heap is left
 * to V8, which collects it in small steps. How large it is follows from what was in use at the last rest, and from the
 * connections that came since.
 */
const usedBytesMax = 72 * 1024 * 1024
const usedBytesPerConnection = 40 * 1024

export interface MemoryAtRest {
  readonly clock: Pick<Clock, 'sleep'>
  /** How many connections are open. */
  readonly connections: () => number
  /** Frees what other parts of the program only keep to be faster. */
  readonly onRest?: () => void
}

/** What the job knows and does of the program; other ones than usual are for tests. */
export interface OwnMemory {
  /** The share of the time since the last call in which the thread worked. */
  workShare(): number
  /** What V8 has reserved, and buffers outside its heap. */
  reservedBytes(): number
  /** Collects all garbage. Returns how many bytes of objects are in use. */
  collect(): number
  /** Gives back what is free between pieces in use outside of V8's heap: buffers and what belongs to connections. */
  trim(): void
}

/** Runs until the signal. Does nothing in a program that was not started by `bin/node.sh`. */
export async function giveBackMemory(
  { clock, connections, onRest }: MemoryAtRest,
  signal: AbortSignal,
  ownMemory?: OwnMemory,
): Promise<void> {
  const memory = ownMemory ?? (await observeOwnMemory())
  if (!memory) return
  let reservedAtRest = 0
  let [usedAtRest, connectionsAtRest] = [0, connections()]
  let isFreeing = false
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {})
    if (memory.workShare() > restingShareMax || signal.aborted) continue
    // Other threads free the buffers of collected objects meanwhile.
    if (isFreeing) memory.trim()
    isFreeing = memory.reservedBytes() >= reservedAtRest + growthBytesMin
    if (!isFreeing) continue
    onRest?.()
    if (usedAtRest + (connections() - connectionsAtRest) * usedBytesPerConnection <= usedBytesMax) {
      usedAtRest = memory.collect()
      connectionsAtRest = connections()
    }
    reservedAtRest = memory.reservedBytes()
  }
}

async function observeOwnMemory(): Promise<OwnMemory | undefined> {
  const { gc } = globalThis
  if (!gc) return undefined
  const trim = await findTrim()
  let since = performance.eventLoopUtilization()
  return {
    workShare() {
      const until = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(until, since)
      since = until
      return utilization
    },
    reservedBytes() {
      const { heapTotal, external } = process.memoryUsage()
      return heapTotal + external
    },
    collect() {
      // The one kind of collection that also shrinks the space for new objects, and keeps no pages for later.
      gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
      return process.memoryUsage().heapUsed
    },
    trim,
  }
}

/**
 * The C library of most Linux systems gives memory back by itself only from the end of its heap, where some piece is always in
 * use. Others have no such function, and an older release of Node cannot call it.
 */
async function findTrim(): Promise<() => void> {
  try {
    const { dlopen } = await import('node:ffi')
    const { functions } = dlopen(null, { malloc_trim: { arguments: ['uint64'], return: 'int32' } })
    return () => void functions.malloc_trim(0n)
  } catch {
    return () => {}
  }
}
