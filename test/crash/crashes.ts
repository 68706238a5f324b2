import assert from 'node:assert/strict'
import { eventually } from '../harness/program.ts'
import { CrashFleet } from './crash-fleet.ts'
import { appLines, findFaults, findLogFaults, readLedger } from './ledger.ts'
import { describeKill, type Kill } from './plan.ts'
import { OneSuperlink, type Superlinks, type SuperlinksOptions } from './superlinks.ts'
import { type ActiveRun, flwr, type LoadName, loadNames, startRuns } from './workload.ts'

export interface CrashOptions {
  readonly kills: number
  /** What is killed, one after the other. */
  readonly plan: Iterator<Kill>
  /** The environment of Python apps; without it there are none. */
  readonly python: string | undefined
  readonly loads?: readonly LoadName[]
  /** How many rounds each run has, as a multiple of the usual number. */
  readonly roundsTimes?: number
  readonly startSuperlinks?: (options: SuperlinksOptions) => Promise<Superlinks>
  /** How long the runs may make no progress, and how long their end may take; leases and messages in work end within two minutes. */
  readonly progressPatienceMs?: number
  /** When killing stops although there were fewer kills, as `performance.now()` counts: the runs are checked all the same. */
  readonly endsAt?: number
  readonly say: (line: string) => void
}

export interface CrashOutcome {
  readonly history: readonly Kill[]
  /** Sentences on what was not as promised. */
  readonly faults: readonly string[]
}

/**
 * Kills programs of a small fleet while several runs are active, one program at a time, each after some progress, at a random
 * moment or at a point that matters, such as before a commit. All that was acknowledged must be there afterwards, nothing may
 * reach an app twice, and the state must be without a fault.
 */
export async function runCrashes(options: CrashOptions): Promise<CrashOutcome> {
  const { python, say, startSuperlinks = OneSuperlink.start } = options
  const history: Kill[] = []
  const faults: string[] = []
  await using fleet = await CrashFleet.start(python, startSuperlinks)
  try {
    faults.push(...(await killUntilFault(fleet, options, history)))
  } catch (error) {
    faults.push(`${(error as Error).message}\n${await describeState(fleet)}`)
  }
  for (const fault of faults) say(`FAULT: ${fault}`)
  return { history, faults }
}

/** Returns the first faults; `history` grows with each kill. */
async function killUntilFault(
  fleet: CrashFleet,
  {
    kills,
    plan,
    python,
    loads = loadNames,
    roundsTimes = 1,
    // For machines that are busy.
    progressPatienceMs = 15 * 60_000,
    endsAt = Number.POSITIVE_INFINITY,
    say,
  }: CrashOptions,
  history: Kill[],
): Promise<readonly string[]> {
  const ledger = fleet.deployment.directory.file('ledger')
  const ended: ActiveRun[] = []
  const names = loads.filter((name) => python !== undefined || name !== 'python')
  const isDone = (): boolean => history.length >= kills || performance.now() >= endsAt
  while (!isDone()) {
    const active = await startRuns(fleet.deployment, { ledger, names, roundsTimes })
    const before = history.length
    let seen = -1
    while (!isDone()) {
      const progress = await awaitProgress(ledger, seen, active, { patienceMs: progressPatienceMs, endsAt })
      if (progress === 'none') return [`nothing goes on any more: ${await describeState(fleet)}`]
      if (progress === 'over') break
      const kill = plan.next().value
      history.push(kill)
      say(`${history.length}: ${describeKill(kill)}`)
      await fleet.kill(kill, () => active.every(({ follower }) => follower.hasEnded))
      if (history.length === before + 2) await stopOne(fleet, active)
      seen = readLedger(ledger).length
    }
    const faults: string[] = []
    const shared = { kills: history.slice(before), ledger, patienceMs: progressPatienceMs }
    for (const one of active) faults.push(...(await checkRun(fleet, one, shared)))
    if (faults.length > 0) return faults
    ended.push(...active)
  }
  return checkEnd(fleet, ended)
}

/** Waits until an app has noted something new. `over`: all runs but the endless one have ended, or the time for kills has. */
async function awaitProgress(
  ledger: string,
  seen: number,
  active: readonly ActiveRun[],
  { patienceMs, endsAt }: { patienceMs: number; endsAt: number },
): Promise<'some' | 'over' | 'none'> {
  const finite = active.filter(({ isEndless }) => !isEndless)
  const failsAt = performance.now() + patienceMs
  const look = (): 'some' | 'over' | 'none' | false => {
    if (finite.every(({ follower }) => follower.hasEnded)) return 'over'
    if (readLedger(ledger).length > seen) return 'some'
    if (performance.now() >= endsAt) return 'over'
    return performance.now() > failsAt && 'none'
  }
  return eventually('progress of the runs', look, Number.POSITIVE_INFINITY)
}

/** What a person would look at: what runs wait for, and the end of the log of each program. */
async function describeState({ deployment, programs }: CrashFleet): Promise<string> {
  const { said } = await deployment.flwr('ls').catch((error: Error) => ({ said: error.message }))
  return [said, ...programs().map((program) => program.said.slice(-3000))].join('\n---\n')
}

/** A stop that was acknowledged must last. */
async function stopOne({ deployment }: CrashFleet, active: readonly ActiveRun[]): Promise<void> {
  const endless = active.find(({ isEndless }) => isEndless) as ActiveRun
  const { status, said } = await flwr(deployment, 'stop', endless.runId)
  // It may have failed: then its ServerApp was killed before it had saved anything.
  assert.ok(status === 0 || /already finished/.test(said), said)
  endless.isStopped = status === 0
}

async function checkRun(
  { deployment }: CrashFleet,
  active: ActiveRun,
  { kills, ledger, patienceMs }: { kills: readonly Kill[]; ledger: string; patienceMs: number },
): Promise<string[]> {
  const { runId, follower, isEndless, expected } = active
  if (isEndless && !active.isStopped) await stopOne({ deployment } as CrashFleet, [active])
  const status = await follower.end(patienceMs)
  const shown = (await flwr(deployment, 'log', runId, '--show')).stdout
  const { status: state, 'status-details': details } = await describeRun({ deployment }, runId)
  const entries = readLedger(ledger)
  // A ServerApp that is lost before it has saved anything cannot start again. Those in Python save nothing.
  const hasSaved = entries.some((entry) => entry.run === runId && entry.saved !== undefined)
  const mayFail = !hasSaved && kills.some(({ victim }) => /SuperExec|ServerApp/.test(victim))
  const faults: string[] = []
  const fault = (sentence: string): void => void faults.push(`run ${runId} (${active.name}): ${sentence}`)
  if (status !== 0 && !mayFail && !isEndless) fault(`flwr log ended with ${status}: ${follower.said.slice(-1500)}`)
  if (isEndless) {
    if (state !== 'finished:stopped' && (active.isStopped || !mayFail)) fault(`it was stopped, and is ${state}`)
  } else if (state === 'finished:completed') {
    if (!shown.includes(`weights: ${expected}`)) fault(`its weights are not ${expected}: ${shown.slice(-500)}`)
  } else if (!(mayFail && state === 'finished:failed')) fault(`it is ${state} (${details}): ${shown.slice(-1500)}`)
  const lines = follower.stdout.match(appLines) ?? []
  for (const line of new Set(lines)) if (!shown.includes(line)) fault(`"${line}" was shown and is gone`)
  const repeats = active.language === 'python'
  if (new Set(lines).size < lines.length && !repeats) fault('a line was shown twice')
  const nodeKills = kills.filter(({ victim }) => victim.startsWith('SuperNode')).length
  return [...faults, ...findFaults(entries, runId, nodeKills), ...findLogFaults(shown, runId, { repeats })]
}

async function describeRun(
  { deployment }: Pick<CrashFleet, 'deployment'>,
  runId: string,
): Promise<{ status: string; 'status-details': string }> {
  const { stdout, said } = await flwr(deployment, 'ls', '--run-id', runId, '--format', 'json')
  assert.match(stdout, /"runs"/, said)
  return JSON.parse(stdout).runs[0]
}

/** What must be so after all of it: no run is forgotten or changed, no app is left over, the state is whole. */
async function checkEnd(fleet: CrashFleet, ended: readonly ActiveRun[]): Promise<string[]> {
  const { deployment } = fleet
  const faults: string[] = []
  await eventually('the end of all ServerApps', () => deployment.children('flwr-serverapp').length === 0)
  const { stdout } = await flwr(deployment, 'ls', '--format', 'json')
  const known = new Map<string, string>(
    JSON.parse(stdout).runs.map((one: { 'run-id': string; status: string }) => [one['run-id'], one.status]),
  )
  for (const { runId, isStopped } of ended) {
    if (!known.has(runId)) faults.push(`run ${runId} is forgotten`)
    if (isStopped && known.get(runId) !== 'finished:stopped')
      faults.push(`run ${runId} was stopped: ${known.get(runId)}`)
  }
  return [...faults, ...fleet.faults, ...(await fleet.superlinks.check())]
}
