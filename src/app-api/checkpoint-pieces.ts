import { createHash } from 'node:crypto'
import { limits } from '../base/limits.ts'
import { takeTurns } from '../base/turns.ts'
import { ContextSchema, type Context as WireContext } from '../gen/flwr/proto/message_pb.ts'
import { type CheckpointPieces, Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { decodeInTurns } from '../rpc/decode-in-turns.ts'
import { type Encoded, lengthOf } from '../rpc/encode-in-turns.ts'
import type { TaskCalls } from './task-calls.ts'

/**
 * Checkpoints that are too large for one call, to and from a SuperLink. The SuperLink says how far it has got after each
 * piece, so a SuperLink that was restarted in between receives the checkpoint from its start.
 */

/** How a server takes large checkpoints. */
export interface PieceRules {
  /** Smaller contexts travel in one call. */
  readonly wholeBytesMax: number
  readonly pieceBytes: number
}

/** Returns `undefined` for servers that know no pieces. A checkpoint that travels whole has to fit in beside the app. */
export function pieceRulesOf(rules: CheckpointPieces | undefined, fabBytes: number): PieceRules | undefined {
  if (!rules || rules.pieceBytes === 0) return undefined
  return { wholeBytesMax: Number(rules.wholeBytesMax) - fabBytes, pieceBytes: rules.pieceBytes }
}

/** How often a server may lose what it had before the save fails. */
const lossesMax = 10

/** Saves an encoded context piece by piece. */
export async function sendCheckpoint(calls: TaskCalls, { pieceBytes }: PieceRules, context: Encoded): Promise<void> {
  const sha256 = await digestOf(context)
  const size = lengthOf(context)
  let losses = 0
  for (let offset = 0; offset < size; ) {
    const content = sliceOf(context, offset, Math.min(offset + pieceBytes, size))
    const piece = { sha256, size: BigInt(size), offset: BigInt(offset), content }
    const { received } = await calls.call(Runtime.method.saveCheckpoint, { piece })
    if (Number(received) <= offset && ++losses > lossesMax)
      throw new Error('The SuperLink has lost the pieces of the checkpoint again and again.')
    offset = Number(received)
  }
}

/** Reads the checkpoint that the app starts from. */
export async function receiveCheckpoint(calls: TaskCalls, { sha256, size }: CheckpointPieces): Promise<WireContext> {
  if (size > limits.checkpointBytesMax)
    throw new Error(`The server offers a checkpoint of ${size} bytes, more than ${limits.checkpointBytesMax}.`)
  const context = Buffer.allocUnsafeSlow(Number(size))
  for (let offset = 0; offset < context.length; ) {
    const { content } = await calls.call(Runtime.method.pullCheckpoint, { sha256, offset: BigInt(offset) })
    if (content.length === 0 || content.length > context.length - offset)
      throw new Error('The server sent a piece of a checkpoint with a wrong size.')
    context.set(content, offset)
    offset += content.length
  }
  if ((await digestOf([context])) !== sha256) throw new Error('The checkpoint that the server sent is damaged.')
  return decodeInTurns(ContextSchema, context)
}

async function digestOf(parts: Encoded): Promise<string> {
  const sum = createHash('sha256')
  const turn = takeTurns()
  for (const part of parts)
    for (let start = 0; start < part.length; start += hashedAtOnceBytes) {
      sum.update(part.subarray(start, start + hashedAtOnceBytes))
      await turn()
    }
  return sum.digest('hex')
}

const hashedAtOnceBytes = 512 * 1024

/** The bytes of a range, from whichever parts they are in. */
function sliceOf(parts: Encoded, from: number, to: number): Uint8Array {
  const slice = new Uint8Array(to - from)
  let start = 0
  for (const part of parts) {
    const end = start + part.length
    if (end > from && start < to)
      slice.set(part.subarray(Math.max(from - start, 0), to - start), Math.max(start - from, 0))
    start = end
  }
  return slice
}
