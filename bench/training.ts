import { join } from 'node:path'
import { type Flower, withDeployment } from './deployment.ts'
import { residentMegabytes } from './processes.ts'

const small = { floats: 1000, rounds: 6 }
const large = { floats: 25_000_000, rounds: 2 }

/** Two SuperNodes that train a small and a large model. */
export interface TrainingFigures {
  readonly secondsPerSmallRound: number
  readonly secondsForLargeRun: number
  readonly idleMegabytes: number
}

/** Measures in a fresh folder. */
export async function measureTraining(flower: Flower, name: string, directory: string): Promise<TrainingFigures> {
  const say = (text: string): void => void process.stderr.write(`${name}: ${text}\n`)
  say('idle memory')
  const idleMegabytes = await withDeployment(flower, join(directory, 'idle'), 0, async ({ superlinkPid }) =>
    residentMegabytes(superlinkPid),
  )
  say(`${small.rounds} rounds with 4 KB`)
  const smallSeconds = await withDeployment(flower, join(directory, 'small'), 2, (deployment) =>
    deployment.train(small),
  )
  say(`${large.rounds} rounds with 100 MB`)
  const largeSeconds = await withDeployment(flower, join(directory, 'large'), 2, (deployment) =>
    deployment.train(large),
  )
  return {
    secondsPerSmallRound: smallSeconds / small.rounds,
    secondsForLargeRun: largeSeconds,
    idleMegabytes,
  }
}
