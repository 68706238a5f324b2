import { errorText } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { flowerReleases, trellisVersion } from '../base/version.ts'
import type { SupernodeContext } from './context.ts'
import { fleet } from './fleet.ts'
import type { Known, Work } from './work.ts'

/**
 * Confirms instructions, so that the SuperLink does not hand them out again, and handles those that it hands out again all
 * the same. No instruction is executed twice.
 *
 * A SuperNode keeps what it holds in memory. At our SuperLink, which hands out unconfirmed instructions again after a restart
 * of the node, an instruction is therefore confirmed when its reply has arrived there: until then a killed node gets it
 * again. Flower's SuperLinks give a restarted node nothing back; since 1.43 they repeat an instruction until it is confirmed,
 * and hand out no other one before. There it is confirmed as soon as all its objects are here, as by Flower's SuperNodes.
 */

/** All objects of the instruction are here. */
export async function confirmHeld(ctx: SupernodeContext, work: Work): Promise<void> {
  if (!ctx.fleet.redelivers) await confirm(ctx, work)
}

/** The instruction was answered or dropped. */
export async function confirmFinished(ctx: SupernodeContext, work: Work): Promise<void> {
  if (!work.known.isConfirmed) await confirm(ctx, work)
}

/** The SuperLink has handed out an instruction that this node holds or has finished. */
export async function meetAgain(ctx: SupernodeContext, known: Known): Promise<void> {
  known.repeats++
  const { messageId: message, runId: run, isConfirmed } = known
  if (isConfirmed && known.repeats === 1) {
    const [first, last] = flowerReleases
    ctx.log.warn(
      `The SuperLink hands out a message again that this SuperNode has confirmed. Trellis ${trellisVersion} was made for Flower 1.${first} to 1.${last}: the SuperLink may be newer. The message is not executed again.`,
      { run, message: message.slice(0, 8) },
    )
  }
  if (isConfirmed || known.isFinished) await confirm(ctx, { runId: known.runId, known })
  const pauseMs = repeatPauseMs * 2 ** Math.min(known.repeats - 1, 20)
  await ctx.clock.sleep(Math.min(pauseMs, isConfirmed ? repeatPauseMsMax : heldPauseMsMax), ctx.signal)
}

const repeatPauseMs = 250
/** While an instruction is on its way here, the SuperLink may repeat it: then it is asked as often as one without work. */
const heldPauseMsMax = 3000
const repeatPauseMsMax = 60_000

/** A refusal changes nothing: if the SuperLink repeats the instruction it is confirmed again. */
async function confirm(ctx: SupernodeContext, { runId, known }: { runId: RunId; known: Known }): Promise<void> {
  const node = { nodeId: ctx.fleet.nodeId }
  try {
    await ctx.fleet.call(fleet.confirmMessageReceived, { node, runId, messageObjectId: known.messageId })
    if (!known.isConfirmed) known.repeats = 0
    known.isConfirmed = true
  } catch (error) {
    if (ctx.signal.aborted) return
    ctx.log.debug('An instruction could not be confirmed', { run: runId, because: errorText(error) })
  }
}
