import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { leaseMs } from '../../tasks/task.ts'
import type { SuperlinkContext } from '../context.ts'
import * as runMessages from '../delivery/run-messages.ts'
import { heartbeatPatience, isReachable, type Node } from '../nodes/node.ts'
import type { QuotaName } from '../quotas/quotas.ts'
import type { Run } from './run.ts'
import type { Wait } from './waits.ts'

type Ctx = Pick<
  SuperlinkContext,
  'db' | 'clock' | 'room' | 'quotas' | 'progress' | 'runNodes' | 'knownNodes' | 'simulation'
>

/** Heartbeats of an app come every 20 s; Flower's every 30 s. */
const appSilentMs = 40_000
/** An app is up a few seconds after its launch. */
const appStartMs = 10_000
/** A task is taken at once if there is a SuperExec. */
const superexecMs = 2000

/** Returns what a run waits for that has not finished; `undefined` if it works, as far as this SuperLink knows. */
export async function findWait(ctx: Ctx, run: Run): Promise<Wait | undefined> {
  const now = ctx.clock.now()
  const { task } = run
  if (task.status === 'finished') return undefined
  const { fullSince } = ctx.room
  if (fullSince !== undefined)
    return {
      kind: 'disk',
      what: 'room on the disk of the SuperLink',
      sinceAt: fullSince,
      remedy: 'Its operator must free some space.',
    }
  const refusal = ctx.quotas.findRefusal(run.runId)
  if (refusal)
    return {
      kind: 'quota',
      what: `room in --quota-${refusal.name} of the SuperLink: ${refusal.used} of ${refusal.max} are used`,
      sinceAt: refusal.sinceAt,
      remedy: quotaRemedies[refusal.name],
    }
  if (task.status === 'pending')
    return now - task.pendingAt < superexecMs
      ? undefined
      : {
          kind: 'superexec',
          what: 'a SuperExec that launches its ServerApp',
          sinceAt: task.pendingAt,
          remedy: 'Start flower-superexec for this SuperLink. If the SuperLink starts its own, its log has the reason.',
        }
  if (task.status === 'starting') {
    const sinceAt = task.startingAt ?? task.pendingAt
    return now - sinceAt < appStartMs
      ? undefined
      : {
          kind: 'app-start',
          what: `the start of its ServerApp (attempt ${task.launches} of ${limits.taskLaunchesMax})`,
          sinceAt,
          remedy: 'A slow machine may need this long. If the start fails, the log of the SuperExec has the reason.',
        }
  }
  const heardAt = (task.leaseUntil ?? now) - leaseMs.running
  if (now - heardAt > appSilentMs)
    return {
      kind: 'app',
      what: 'its ServerApp, which sends no heartbeats',
      sinceAt: heardAt,
      remedy: `If none arrives, the run fails at ${instant(heardAt + leaseMs.running)}. Check that its SuperExec runs and reaches the SuperLink.`,
    }
  return (await findMissingReplies(ctx, run, now)) ?? findMissingNodes(ctx, run, now)
}

const quotaRemedies: Readonly<Record<QuotaName, string>> = {
  disk: 'Wait for other runs, stop one, keep fewer finished ones (--keep-runs), or raise the quota.',
  'run-disk': 'Ask fewer SuperNodes at a time, use a smaller model, or raise the quota.',
  'node-disk': 'Wait until the ServerApp has received what the SuperNode has sent, or raise the quota.',
  'run-objects': 'Ask fewer SuperNodes at a time, or raise the quota.',
  runs: 'Wait for other runs, stop one, or raise the quota.',
}

async function findMissingNodes(ctx: Ctx, run: Run, now: number): Promise<Wait | undefined> {
  const sinceAt = ctx.progress.waits.nodesWantedSince(run.runId, now)
  if (sinceAt === undefined) return undefined
  const count = (await ctx.runNodes.listReachable(run.runId)).length
  return {
    kind: 'nodes',
    what: `more SuperNodes: ${count === 0 ? 'none is' : count === 1 ? 'one is' : `${count} are`} online`,
    sinceAt,
    remedy: 'Start more SuperNodes, or let drained and blocked ones work again (flwr supernode unblock).',
  }
}

async function findMissingReplies(ctx: Ctx, { runId }: Run, now: number): Promise<Wait | undefined> {
  const open = await runMessages.listUnanswered(ctx.db.read, runId, limits.repliesPerPullMax)
  const [oldest] = open
  if (!oldest) return undefined
  const nodes = ctx.simulation ? [] : await listStates(ctx, open, now)
  const asked = Math.max(ctx.progress.of(runId).asked, open.length)
  const first = nodes.slice(0, limits.waitNodesShownMax)
  const shown = first.map(({ name, text }) => `${name} ${text}`)
  if (nodes.length > shown.length) shown.push(`and ${nodes.length - shown.length} more`)
  const missing = `${open.length} of ${asked} ${asked === 1 ? 'reply' : 'replies'}`
  return {
    kind: 'replies',
    what: shown.length === 0 ? missing : `${missing}: ${shown.join(', ')}`,
    sinceAt: oldest.createdAt,
    remedy: [...new Set(nodes.map(({ remedy }) => remedy))].filter((remedy) => remedy !== '').join(' '),
    nodes: first.map(({ name }) => name),
  }
}

/** A node and what it does with the message that it has not answered. */
interface NodeState {
  readonly nodeId: NodeId
  /** What people call the node: its name, the identity of its certificate, or its id. */
  readonly name: string
  /** What it does, as the rest of a sentence that begins with its name. */
  readonly text: string
  readonly remedy: string
}

/** Returns the nodes whose replies are missing, at most `waitNodesMax`, first those that cannot reply without help. */
export async function listMissing(ctx: Ctx, runId: RunId): Promise<readonly NodeState[]> {
  const open = await runMessages.listUnanswered(ctx.db.read, runId, limits.waitNodesMax)
  return ctx.simulation ? [] : listStates(ctx, open, ctx.clock.now())
}

async function listStates(
  ctx: Ctx,
  open: readonly runMessages.Unanswered[],
  now: number,
): Promise<readonly NodeState[]> {
  const states: NodeState[] = []
  for (const message of open.slice(0, limits.waitNodesMax)) states.push(await stateOf(ctx, message, now))
  return states.sort((a, b) => Number(a.remedy === '') - Number(b.remedy === ''))
}

async function stateOf({ knownNodes, room }: Ctx, message: runMessages.Unanswered, now: number): Promise<NodeState> {
  const node = await knownNodes.find(message.nodeId)
  return {
    nodeId: message.nodeId,
    name: node?.name ?? node?.identity ?? `node ${message.nodeId}`,
    ...workOf(node, message, now, room.leaseNow()),
  }
}

function workOf(
  node: Node | undefined,
  { state, deliveredAt }: runMessages.Unanswered,
  now: number,
  leaseNow: number,
): Pick<NodeState, 'text' | 'remedy'> {
  if (node?.admission === 'blocked') return { text: `is blocked`, remedy: unblock }
  if (!node || !isReachable(node, leaseNow)) {
    const goneAt = Math.min(node?.lastDeactivatedAt ?? now, node?.onlineUntil ?? now)
    return { text: `is offline since ${instant(goneAt)}`, remedy: restart }
  }
  const heardAt = (node.onlineUntil ?? now) - heartbeatPatience * node.heartbeatIntervalMs
  if (now - heardAt > 1.2 * node.heartbeatIntervalMs)
    return { text: `is silent since ${instant(heardAt)}`, remedy: listen }
  if (state === 'announced') return { text: `waits for the rest of its message`, remedy: '' }
  return deliveredAt === undefined
    ? { text: `has not fetched its message`, remedy: '' }
    : { text: `works on it since ${instant(deliveredAt)}`, remedy: '' }
}

const unblock = 'Let blocked SuperNodes work again (flwr supernode unblock), or stop the run.'
const listen = 'Look whether silent SuperNodes run and reach the SuperLink.'
const restart = 'Start SuperNodes that are offline again; messages expire by themselves.'

/** To the second, as the commands show instants. */
export function instant(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')}Z`
}
