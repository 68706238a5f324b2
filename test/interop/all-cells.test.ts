import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import type { Maker } from '../harness/python-flower.ts'
import { type Cell, type Column, columns, isFirstOf, type Language, matrixTable, skipReason } from './cells.ts'

const cells: Cell[] = []
after(() => process.stdout.write(`\n${matrixTable(cells)}\n\n`))

// Python's programs mostly wait; four fleets at a time keep two cores at work.
describe('two rounds in every cell, and every flwr shows and stops runs at every SuperLink', { concurrency: 4 }, () => {
  for (const column of columns) {
    const { superlink, supernodes, language, python } = column
    const name = `SuperLink ${superlink}, SuperNodes ${supernodes}, a ${language} app (${python})`
    test(name, { skip: skipReason(column) }, async (context) => {
      const own = column.clis.map((cli) => ({ ...column, cli, outcome: 'FAILED', seconds: undefined }))
      cells.push(...own)
      await using fleet = await createFleet(column)
      await startNodes(fleet, column)
      /** One training of each `flwr` that starts apps of this language: where that is ours alone, the others look at its run. */
      const trainings = new Map<Maker, Training>()
      for (const cell of own) {
        const starter = starterOf(column, cell.cli)
        const isStarter = starter === cell.cli
        const isFirst = isFirstOf(column, cell.cli)
        // It looks at the run of ours in its first column; the SuperNodes make no difference to it.
        if (!isStarter && !isFirst) {
          cells[cells.indexOf(cell)] = { ...cell, outcome: 'looks only in its first column' }
          continue
        }
        const verbs = [isStarter && 'runs', isFirst && 'lists and shows'].filter(Boolean).join(', ')
        await context.test(`flwr ${cell.cli} ${verbs}`, async () => {
          const training = trainings.get(starter) ?? (await train(fleet, column, starter))
          trainings.set(starter, training)
          if (isFirst) await show(fleet, cell.cli, training.runId)
          const ended = isStarter ? { outcome: 'OK', seconds: training.seconds } : { outcome: 'OK (started by ours)' }
          cells[cells.indexOf(cell)] = { ...cell, ...ended }
        })
      }
      // After all trainings: Python's SuperNodes can stay busy for good with a message of a run that was stopped.
      for (const { cli } of own.filter(({ cli }) => isFirstOf(column, cli))) {
        await context.test(`flwr ${cli} stops`, () => stop(fleet, column, cli))
      }
    })
  }
})

/** Whether apps of this language cannot be started by this maker's programs: they get a SuperExec of ours. */
const isForeign = (language: Language, maker: Maker): boolean => language === 'typescript' && maker !== 'trellis'

function createFleet({ superlink, language, python }: Column): Promise<MixedFleet> {
  const isolation = isForeign(language, superlink) ? ({ isolation: 'process' } as const) : {}
  return MixedFleet.create({ superlink, python, pythonState: 'memory', ...isolation })
}

/** Two SuperNodes, and the SuperExecs that the language of the apps needs. */
async function startNodes(fleet: MixedFleet, { superlink, supernodes, language }: Column): Promise<void> {
  if (isForeign(language, superlink)) fleet.startSuperexec(fleet.appAddress, 'serverapp')
  for (let node = 1; node <= 2; node++) {
    const needsSuperexec = isForeign(language, supernodes)
    const supernode = await fleet.startSupernode(supernodes, needsSuperexec ? ['--isolation', 'process'] : [])
    if (needsSuperexec) fleet.startSuperexec(fleet.appAddressOf(supernode), 'clientapp')
  }
}

/** Apps in TypeScript are started by our `flwr`. */
const starterOf = ({ language }: Column, cli: Maker): Maker => (language === 'typescript' ? 'trellis' : cli)

interface Training {
  readonly runId: string
  readonly seconds: number
}

/** Trains, and checks the result. */
async function train(fleet: MixedFleet, column: Column, starter: Maker): Promise<Training> {
  const app = writeApp(fleet, column)
  const training = await fleet.flwr(starter, ['run', app, '--stream'])
  assert.equal(training.status, 0, training.said)
  assert.match(training.said, /\[ROUND 2\/2\]/)
  // [0, 10] and one more in each of two rounds, at both nodes.
  assert.match(training.said, /weights: 2 12/)
  assert.match(training.said, /Received 2 results and 0 failures/)
  assert.doesNotMatch(training.said, /[1-9] failures/)
  const [, runId = ''] = /run (\d+)/.exec(training.said) ?? []
  const seconds = /Strategy execution finished in ([\d.]+)s/.exec(training.said)?.[1]
  return { runId, seconds: Number(seconds) }
}

/** Looks at a run that has ended, as a person would. */
async function show(fleet: MixedFleet, cli: Maker, runId: string): Promise<void> {
  const runs = await listRuns(fleet, cli)
  assert.equal(runs.get(runId), 'finished:completed')
  const log = await fleet.flwr(cli, ['log', runId, '--show'])
  assert.match(log.said, /weights: 2 12/)
}

/** Stops a run, and sees it stopped. */
async function stop(fleet: MixedFleet, column: Column, cli: Maker): Promise<void> {
  const starter = starterOf(column, cli)
  const app = writeApp(fleet, column)
  const options = ['--run-config', 'rounds=50 pause-ms=500', '--format', 'json']
  const second = await fleet.flwr(starter, ['run', app, ...options])
  const started = JSON.parse(second.stdout)
  assert.equal(started.success, true, second.said)
  const stopped = JSON.parse((await fleet.flwr(cli, ['stop', started['run-id'], '--format', 'json'])).stdout)
  assert.equal(stopped.success, true)
  assert.equal((await listRuns(fleet, cli)).get(String(started['run-id'])), 'finished:stopped')
}

function writeApp(fleet: MixedFleet, { language }: Column): string {
  const [server, client] =
    language === 'python' ? [countingServerPython, countingClientPython] : [countingServer, countingClient]
  return writeMixedApp(fleet.directory.file('testapp'), {
    server: { language, source: server },
    client: { language, source: client },
    // One array has more than 1 MiB: it goes from file to file.
    config: 'rounds = 2\npause-ms = 0\nballast = 300000',
  })
}

/** The status of each run, by its id. */
async function listRuns(fleet: MixedFleet, cli: Maker): Promise<Map<string, string>> {
  const { stdout, said } = await fleet.flwr(cli, ['ls', '--format', 'json'])
  const list = JSON.parse(stdout)
  assert.equal(list.success, true, said)
  return new Map(list.runs.map((run: Record<string, unknown>) => [String(run['run-id']), run.status]))
}
