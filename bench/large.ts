import { once } from 'node:events'
import { statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import { type Deployment, type Flower, withDeployment } from './deployment.ts'
import { WatchedProcesses } from './watched-processes.ts'

/** Large models: how long a run takes, and how much memory each program needs at its peak. */

export interface LargeFigures {
  readonly megabytes: number
  readonly nodes: number
  readonly rounds: number
  readonly seconds: number
  /** Of all programs of the deployment, in the run. */
  readonly cpuSeconds: number
  /** The peaks, in megabytes; of several SuperNodes or ClientApps the largest. */
  readonly superlink: number
  readonly supernode: number
  readonly serverApp: number
  readonly clientApp: number
}

/** The last one is a sixth of a published study of NVFLARE: 3.35 GB, 6 clients, 154 s a round, 26 models at the server. */
const sizes = [
  { megabytes: 100, nodes: 2, rounds: 2, besideFlower: true },
  { megabytes: 250, nodes: 4, rounds: 1, besideFlower: true },
  { megabytes: 1000, nodes: 2, rounds: 1, besideFlower: false },
  { megabytes: 1000, nodes: 4, rounds: 1, besideFlower: false },
  { megabytes: 558, nodes: 6, rounds: 1, besideFlower: false },
]

/**
 * Measures the sizes that fit into memory, onto the disk and into the time until `endsBefore` (milliseconds of
 * `performance.now()`), each in a fresh folder below `directory`.
 */
export async function measureLarge(
  flowers: { readonly ours: Flower; readonly theirs: Flower | undefined },
  directory: string,
  endsBefore: number,
): Promise<{ ours: LargeFigures; theirs: LargeFigures | undefined }[]> {
  const figures: { ours: LargeFigures; theirs: LargeFigures | undefined }[] = []
  for (const size of sizes) {
    const what = `${size.megabytes} MB x ${size.nodes} nodes x ${size.rounds} rounds`
    const lack = lackOf(size, directory)
    if (lack !== undefined) {
      process.stderr.write(`${what}: left out, ${lack}\n`)
      continue
    }
    const of = async (flower: Flower, name: string): Promise<LargeFigures | undefined> => {
      const leftMs = endsBefore - performance.now()
      process.stderr.write(leftMs > 0 ? `${name}: ${what}\n` : `${name}: ${what}: left out, the time is over\n`)
      if (leftMs <= 0) return undefined
      const folder = join(directory, `${name}-${size.megabytes}-${size.nodes}`)
      return measureOne(flower, size, folder, AbortSignal.timeout(Math.ceil(leftMs))).catch((error: Error) => {
        process.stderr.write(`${name}: ${what}: left out, ${error.message}\n`)
        return undefined
      })
    }
    const ours = await of(flowers.ours, 'trellis')
    const theirs = flowers.theirs && size.besideFlower ? await of(flowers.theirs, 'flower') : undefined
    if (ours) figures.push({ ours, theirs })
  }
  if (figures.length === 0) throw new Error('No size of large models was measured.')
  return figures
}

type Size = Pick<LargeFigures, 'megabytes' | 'nodes' | 'rounds'>

/** No app held more than three models when this was measured; each reply is on the disk of its SuperNode and of the SuperLink. */
function lackOf({ megabytes, nodes }: Size, directory: string): string | undefined {
  const memory = 1.2 * megabytes * (3 * nodes + 3) * 1e6
  if (freemem() < memory) return `it needs ${memory / 1e9} GB of memory`
  const disk = megabytes * (3 * nodes + 2) * 1e6
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize < disk ? `it needs ${disk / 1e9} GB of disk space` : undefined
}

/** Stops the deployment and rejects when the signal is aborted first. */
function measureOne(flower: Flower, size: Size, directory: string, timeOver: AbortSignal): Promise<LargeFigures> {
  return withDeployment(flower, directory, size.nodes, async (deployment) => {
    using watched = new WatchedProcesses(process.pid)
    const before = watched.cpuSeconds()
    const seconds = await Promise.race([trainOnce(deployment, size), rejected(timeOver)])
    const { megabytes, nodes, rounds } = size
    return {
      ...{ megabytes, nodes, rounds, seconds, cpuSeconds: watched.cpuSeconds() - before },
      superlink: watched.peakOf(/flower-superlink/),
      supernode: watched.peakOf(/flower-supernode/),
      serverApp: watched.peakOf(/flwr-serverapp/),
      clientApp: watched.peakOf(/flwr-clientapp/),
    }
  })
}

async function rejected(timeOver: AbortSignal): Promise<never> {
  if (!timeOver.aborted) await once(timeOver, 'abort')
  throw new Error('it was not done in time')
}

function trainOnce(deployment: Deployment, { megabytes, rounds }: Size): Promise<number> {
  return deployment.train({ floats: megabytes * 250_000, rounds })
}
