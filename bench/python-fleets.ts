import { MixedFleet } from '../test/harness/mixed-fleet.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../test/harness/python-apps.ts'
import type { Maker, Release } from '../test/harness/python-flower.ts'

/** Seconds of one training of the same Python app: 2 SuperNodes, 2 rounds, TLS. */
export interface FleetFigures {
  readonly release: Release
  /** Every program is Flower's. */
  readonly theirs: number
  /** Flower's SuperNodes and apps at our SuperLink. */
  readonly atOurs: number
  /** All programs are ours; the app runs in the Python of that release. */
  readonly ours: number
}

/** What a fleet of Flower gains when its SuperLink is replaced, and then all of it. */
export async function measurePythonFleets(releases: readonly Release[]): Promise<FleetFigures[]> {
  const figures: FleetFigures[] = []
  for (const release of releases) {
    figures.push({
      release,
      theirs: await train(release, release, release),
      atOurs: await train('trellis', release, release),
      ours: await train('trellis', 'trellis', release),
    })
  }
  return figures
}

async function train(superlink: Maker, supernodes: Maker, python: Release): Promise<number> {
  process.stderr.write(`Python app of ${python}: SuperLink ${superlink}, SuperNodes ${supernodes}\n`)
  await using fleet = await MixedFleet.create({ superlink, python })
  for (let node = 0; node < 2; node++) await fleet.startSupernode(supernodes)
  const app = writeMixedApp(fleet.directory.file('app'), {
    server: { language: 'python', source: countingServerPython },
    client: { language: 'python', source: countingClientPython },
    config: 'nodes = 2\nrounds = 2\npause-ms = 0',
  })
  const cli = superlink === 'trellis' ? 'trellis' : python
  const { said } = await fleet.flwr(cli, ['run', app, '--stream'])
  const seconds = /Strategy execution finished in ([\d.]+)s/.exec(said)?.[1]
  if (seconds === undefined) throw new Error(`The run did not finish:\n${said}`)
  return Number(seconds)
}
