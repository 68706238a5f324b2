import assert from 'node:assert/strict'
import type { Deployment } from '../harness/deployment.ts'
import { eventually, type TestProgram } from '../harness/program.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { ledgerClient, ledgerClientPython, ledgerServer, ledgerServerPython } from './apps.ts'

/** A run that was acknowledged. */
export interface ActiveRun {
  readonly name: string
  readonly runId: string
  readonly language: 'typescript' | 'python'
  /** Every weight of its model at the end. */
  readonly expected: number
  /** It would go on for ever; it is stopped. */
  readonly isEndless: boolean
  isStopped: boolean
  /** Follows its log. */
  readonly follower: TestProgram
}

/** Models of 4 KB in apps of each language, one of 20 MB, and a run that would go on for ever. */
export const loadNames = ['small', 'large', 'python', 'endless'] as const
export type LoadName = (typeof loadNames)[number]

interface Load {
  readonly name: LoadName
  readonly language: 'typescript' | 'python'
  readonly floats: number
  readonly rounds: number
  readonly pauseMs: number
  readonly isEndless?: true
}

const KiB = 1024
const loads: readonly Load[] = [
  { name: 'small', language: 'typescript', floats: 1 * KiB, rounds: 8, pauseMs: 150 },
  { name: 'large', language: 'typescript', floats: 5 * KiB * KiB, rounds: 3, pauseMs: 100 },
  { name: 'python', language: 'python', floats: 1 * KiB, rounds: 6, pauseMs: 150 },
  { name: 'endless', language: 'typescript', floats: 16, rounds: 1_000_000, pauseMs: 500, isEndless: true },
]

/** Starts a run of each of these loads. */
export async function startRuns(
  deployment: Deployment,
  { ledger, names, roundsTimes }: { ledger: string; names: readonly LoadName[]; roundsTimes: number },
): Promise<ActiveRun[]> {
  const runs: ActiveRun[] = []
  for (const load of loads) {
    if (!names.includes(load.name)) continue
    const { name, language, isEndless = false } = load
    const expected = load.rounds * roundsTimes
    const runId = await startRun(deployment, { ...load, rounds: expected }, ledger)
    const follower = deployment.start('flwr', ['log', runId, '--stream'])
    runs.push({ name, runId, language, expected, isEndless, isStopped: false, follower })
  }
  return runs
}

async function startRun(deployment: Deployment, load: Load, ledger: string): Promise<string> {
  const { name, language, floats, rounds, pauseMs } = load
  const [server, client] =
    language === 'python' ? [ledgerServerPython, ledgerClientPython] : [ledgerServer, ledgerClient]
  writeMixedApp(deployment.directory.file(name), {
    server: { language, source: server },
    client: { language, source: client },
    config: `ledger = ${JSON.stringify(ledger)}\nfloats = ${floats}\nrounds = ${rounds}\npause-ms = ${pauseMs}`,
  })
  const { stdout, said } = await flwr(deployment, 'run', name, '--format', 'json')
  assert.match(stdout, /run-id/, said)
  return JSON.parse(stdout)['run-id']
}

/**
 * As a person would use it: again, if the SuperLink that responded has lost its database to another one. A SuperLink notices
 * that some time after it has happened.
 */
export function flwr(deployment: Deployment, ...args: string[]): ReturnType<Deployment['flwr']> {
  return eventually(`an end of flwr ${args[0]}`, async () => {
    const ended = await deployment.flwr(...args)
    // The log of a run may have the same sentence.
    const isPassing = ended.status !== 0 && /was taken over by another SuperLink/.test(ended.said)
    return !isPassing && ended
  })
}
