import { lookAgain } from '../../base/bell.ts'
import { formatByteSize } from '../../base/byte-size.ts'
import { DomainError } from '../../base/errors.ts'
import type { RunId, TaskId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import * as taskStore from '../../tasks/task-store.ts'
import type { SuperlinkContext } from '../context.ts'
import * as logStore from './log-store.ts'
import { ensureRunOpen, findRun, hasFinished } from './run.ts'
import * as runStore from './run-store.ts'
import { keyOf, type Wait } from './waits.ts'
import { findNotice, noticeText } from './watch-waits.ts'

/** The log of a run: what its ServerApp wrote, kept and streamed. */

type Ctx = Pick<SuperlinkContext, 'db' | 'clock' | 'bells' | 'room' | 'progress' | 'quotas'>

/**
 * Appends text as it came. A log that grows beyond its limit is cut with one note. Throws `run-not-running` if the run has
 * ended: programs that follow its log have seen its end.
 *
 * @param from names the task and the number of its request: the text of a number that was stored already is left out.
 */
export async function appendLog(
  ctx: Ctx,
  runId: RunId,
  fragments: readonly string[],
  from?: { readonly taskId: TaskId; readonly batch: bigint },
): Promise<void> {
  const text = fragments.map(cutLine).join('')
  if (text === '') return
  await ctx.db.transaction(async (tx, afterCommit) => {
    if (from && !(await taskStore.noteBatch(tx, from.taskId, 'log_batch', from.batch))) return ensureRunOpen(tx, runId)
    await appendNote(ctx, tx, afterCommit, runId, text)
  })
}

/** As `appendLog`, within a transaction. */
export async function appendNote(
  ctx: Pick<Ctx, 'clock' | 'bells' | 'quotas'>,
  tx: Db,
  afterCommit: AfterCommit,
  runId: RunId,
  text: string,
): Promise<void> {
  await ensureRunOpen(tx, runId)
  const { runLogBytes } = ctx.quotas.limits
  const before = await runStore.findLogBytes(tx, runId)
  if (before === undefined || before > runLogBytes) return
  const bytes = before + Buffer.byteLength(text)
  const kept =
    bytes > runLogBytes
      ? `\n[The log ends here: it is longer than ${formatByteSize(runLogBytes)} (--quota-run-log of the SuperLink)]\n`
      : text
  await logStore.append(tx, runId, kept, Math.round(ctx.clock.now() * 1000))
  await runStore.setLogBytes(tx, runId, bytes)
  afterCommit(() => ctx.bells.runs.ring(runId))
}

/**
 * The log after a cursor, and what is added until the run has finished. Everything that is there comes in the first part,
 * because `flwr log --show` prints only that. A full disk is reported too, and what the run waits for, without being kept.
 * Timestamps are epoch seconds. Throws `run-not-found`.
 *
 * @param check called before each part: throws if the follower may not see the run any more.
 * @param makeRoom called with the size of a part before it is read, which waits for it.
 */
export async function* followLog(
  ctx: Ctx,
  runId: RunId,
  afterTimestamp: number,
  signal: AbortSignal,
  check: () => void = () => {},
  makeRoom?: MakeRoom,
): AsyncGenerator<{ logOutput: string; latestTimestamp: number }> {
  if (!(await findRun(ctx.db.read, runId))) throw new DomainError('run-not-found')
  let cursor = Math.round(afterTimestamp * 1e6)
  let wasFull = false
  let lastNotice: Wait | undefined
  while (!signal.aborted) {
    // The status is read before the log: what a finished run wrote last is then surely among what is read.
    const look = async (): Promise<News | undefined> => {
      check()
      const { isFull } = ctx.room
      const finished = await hasFinished(ctx.db.read, runId)
      const part = await readLog(ctx, runId, cursor, makeRoom)
      const notice = findNotice(ctx, runId)
      const isNew = isFull !== wasFull || keyOf(notice) !== keyOf(lastNotice)
      return part || finished || isNew ? { finished, part, isFull, notice } : undefined
    }
    const found = await lookAgain(ctx.bells.runs, runId, look, { waitMs: 30_000, signal })
    if (!found) continue
    const { part, finished, isFull, notice } = found
    cursor = part?.at ?? cursor
    const notes = finished ? '' : `${isFull === wasFull ? '' : roomNotes[`${isFull}`]}${waitNote(lastNotice, notice)}`
    const logOutput = `${part?.text ?? ''}${notes}`
    wasFull = isFull
    lastNotice = notice
    if (logOutput !== '') yield { logOutput, latestTimestamp: cursor / 1e6 }
    if (finished) return
  }
}

interface News {
  readonly finished: boolean
  readonly part: { readonly text: string; readonly at: number } | undefined
  readonly isFull: boolean
  readonly notice: Wait | undefined
}

function waitNote(before: Wait | undefined, now: Wait | undefined): string {
  if (keyOf(before) === keyOf(now)) return ''
  return now ? noticeText(now) : '\n[This run continues]\n'
}

const roomNotes = {
  true: '\n[The disk of the SuperLink is full: this run waits until its operator has freed some space]\n',
  false: '\n[The disk of the SuperLink has room again: this run goes on]\n',
}

/** Everything after the cursor; a log has a limit, and so has this. */
async function readLog(
  ctx: Ctx,
  runId: RunId,
  cursor: number,
  makeRoom: MakeRoom | undefined,
): Promise<{ text: string; at: number } | undefined> {
  if (makeRoom) {
    const size = await findLogSize(ctx, runId, cursor)
    if (size === 0) return undefined
    await makeRoom(size)
  }
  const texts: string[] = []
  let at = cursor
  for (;;) {
    const rows = await logStore.listAfter(ctx.db.read, runId, at)
    const last = rows.at(-1)
    if (!last) return texts.length === 0 ? undefined : { text: texts.join(''), at }
    texts.push(...rows.map((row) => row.text))
    at = last.logged_at_us
  }
}

/** At most so many bytes come after the cursor. */
async function findLogSize({ db }: Ctx, runId: RunId, cursor: number): Promise<number> {
  const size = await logStore.sizeAfter(db.read, runId, cursor)
  return size === 0 ? 0 : Math.min(size, (await runStore.findLogBytes(db.read, runId)) ?? 0)
}

function cutLine(fragment: string): string {
  return fragment.length <= limits.logLineBytesMax
    ? fragment
    : `${fragment.slice(0, limits.logLineBytesMax)} [line cut]\n`
}
