import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { countingClient, savingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually, run, type TestProgram } from '../harness/program.ts'
import { randomFrom } from '../harness/random.ts'

const rounds = 8
const app = { server: savingServer, client: countingClient, config: `rounds = ${rounds}\npause-ms = 200` }

/** What is killed; each by SIGKILL unless it says otherwise. */
const victims = ['SuperLink', 'SuperLink by SIGTERM', 'SuperNode', 'SuperExec', 'ServerApp'] as const
type Victim = (typeof victims)[number]

interface Options {
  readonly kills: number
  readonly seed: number
  readonly say: (line: string) => void
}

/**
 * Kills programs of a small fleet while a run is active, one at a time, each at a random moment after some progress. Every
 * run that was acknowledged must complete with the right weights and repeat no round that was saved. In the end the state
 * must be without a fault and no app may be left over. The order of the victims depends on the seed alone.
 */
export async function runCrashes({ kills, seed, say }: Options): Promise<{ survived: number; history: string[] }> {
  const random = randomFrom(seed)
  const history: string[] = []
  let survived = 0
  await using deployment = await Deployment.create({ mutualTls: true })
  const node = { program: await deployment.startSupernode('node') }
  deployment.writeApp(app)
  while (history.length < kills) {
    const runId = await startRun(deployment)
    await using follower = deployment.start('flwr', ['log', runId, '--stream'])
    const before = history.length
    while (history.length < kills && (await hasProgressed(follower))) {
      await new Promise((resolve) => setTimeout(resolve, random(400)))
      const victim = victims[random(victims.length)] as Victim
      history.push(victim)
      say(`${history.length}: run ${runId}, ${victim}`)
      await kill(deployment, victim, node)
    }
    await checkRun(deployment, runId, follower)
    survived += history.length - before
  }
  await eventually('the end of all ServerApps', () => deployment.children('flwr-serverapp').length === 0)
  const checked = await run('flower-superlink', ['check', '--database', deployment.directory.file('state.db')])
  assert.equal(checked.status, 0, checked.said)
  return { survived, history }
}

async function startRun(deployment: Deployment): Promise<string> {
  const { stdout, said } = await deployment.flwr('run', 'testapp', '--format', 'json')
  assert.match(stdout, /run-id/, said)
  return JSON.parse(stdout)['run-id']
}

/** Waits until the run has begun another round. Returns false when it begins no more. */
async function hasProgressed(follower: TestProgram): Promise<boolean> {
  const begun = (follower.said.match(/begins round/g) ?? []).length
  const more = new RegExp(`(?:begins round[\\s\\S]*){${begun + 1}}|weights: `)
  await follower.line(more)
  return !follower.said.includes('weights: ') && !follower.said.includes(`begins round ${rounds}`)
}

async function kill(deployment: Deployment, victim: Victim, node: { program: TestProgram }): Promise<void> {
  if (victim.startsWith('SuperLink')) {
    deployment.superlink.kill(victim.endsWith('SIGTERM') ? 'SIGTERM' : 'SIGKILL')
    await deployment.superlink.end()
    await deployment.startSuperlink()
  } else if (victim === 'SuperNode') {
    node.program.kill('SIGKILL')
    await node.program.end()
    node.program = await deployment.startSupernode('node')
  } else {
    const program = victim === 'ServerApp' ? 'flwr-serverapp' : 'flower-superexec'
    for (const pid of deployment.children(program))
      if (victim === 'ServerApp' || parentOf(pid) === deployment.superlink.pid) process.kill(pid, 'SIGKILL')
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

async function checkRun(deployment: Deployment, runId: string, follower: TestProgram): Promise<void> {
  assert.equal(await follower.end(), 0, follower.said)
  assert.match(follower.said, new RegExp(`weights: ${rounds} ${10 + rounds}`))
  const begun = [...follower.said.matchAll(/begins round (\d+)/g)].map(([, round]) => Number(round))
  for (const [index, round] of begun.entries())
    assert.ok(round >= (begun[index - 1] ?? 1) && round <= (begun[index - 1] ?? 0) + 1, `rounds ${begun}`)
  const { stdout } = await deployment.flwr('ls', '--run-id', runId, '--format', 'json')
  assert.equal(JSON.parse(stdout).runs[0].status, 'finished:completed')
}
