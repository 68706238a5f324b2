import { createHash, type Hash } from 'node:crypto'
import { DomainError, errorText } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import { KeyedTurns } from '../../base/keyed-turns.ts'
import { limits } from '../../base/limits.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { appendPiece, openValue, type PreparedValue, readPiece } from '../../db/large-values.ts'
import type { CheckpointPiece } from '../../gen/flwr/proto/runtime_pb.ts'
import type { Task } from '../../tasks/task.ts'
import type { SuperlinkContext } from '../context.ts'
import type { TakenRoom } from '../quotas/taken-room.ts'
import * as checkpointStore from './checkpoint-store.ts'

/**
 * Checkpoints that are too large for one call. Their pieces are stored as they come, each in a commit of its own, and become
 * a checkpoint in one transaction when all are there and their hash agrees: until then the former checkpoint is in place. An
 * incomplete one is removed when another begins, when its ServerApp is lost, at the end of its run, and at the start of the
 * SuperLink.
 *
 * If the response to a commit is lost, its call fails although it may be done. So what is known of the pieces changes in
 * effects of commits, and each transaction looks first whether a former call has done its work.
 */

export interface CheckpointBounds {
  /** A checkpoint that has no more bytes, together with its FAB, travels in one call. */
  readonly wholeBytesMax: number
  /** A multiple of the size of a stored part. */
  readonly pieceBytes: number
  readonly bytesMax: number
}

const defaultBounds: CheckpointBounds = {
  wholeBytesMax: limits.checkpointWholeBytesMax,
  pieceBytes: limits.checkpointPieceBytes,
  bytesMax: limits.checkpointBytesMax,
}

interface Upload {
  readonly sha256: string
  readonly size: number
  readonly launch: number
  readonly value: PreparedValue & { readonly parts: string }
  /** Room for what is not stored yet. */
  readonly room: TakenRoom
  readonly sum: Hash
  received: number
}

/** The incomplete checkpoints, at most one of a run. */
export class CheckpointUploads {
  readonly bounds: CheckpointBounds
  readonly #uploads = new Map<RunId, Upload>()
  readonly #turns = new KeyedTurns<RunId>()

  constructor(bounds: CheckpointBounds = defaultBounds) {
    this.bounds = bounds
  }

  /** Stores a piece, and returns how many bytes of the checkpoint are there. Throws as `saveCheckpoint` does. */
  take(ctx: PieceContext, task: Task, piece: CheckpointPiece): Promise<number> {
    return this.#turns.inTurn(task.runId, () => this.#take(ctx, task, piece))
  }

  /** Removes the incomplete checkpoint of a run, if there is one. */
  forget(runId: RunId, { log }: Pick<SuperlinkContext, 'log'>): void {
    if (!this.#uploads.has(runId)) return
    this.#turns
      .inTurn(runId, () => this.#drop(runId))
      .catch((error: unknown) =>
        log.warn('An incomplete checkpoint was not removed; the next start removes it', { because: errorText(error) }),
      )
  }

  async #take(ctx: PieceContext, task: Task, piece: CheckpointPiece): Promise<number> {
    const { runId } = task
    const [size, offset] = [Number(piece.size), Number(piece.offset)]
    this.#ensureFits(piece, size, offset)
    const isSame = (one: { sha256: string; launch: number }): boolean =>
      one.sha256 === piece.sha256 && one.launch === task.launches
    let upload = this.#uploads.get(runId)
    if (!upload || !isSame(upload) || upload.size !== size) {
      // The last piece comes again if its response was lost. After a restart of the SuperLink the first one is asked for.
      if (offset > 0) {
        const last = await checkpointStore.findLast(ctx.db.read, runId)
        return last && isSame(last) ? size : 0
      }
      await this.#drop(runId)
      const { sha256 } = piece
      const room = await ctx.quotas.takeDisk(runId, size)
      const value = openValue(ctx.db, size)
      upload = { sha256, size, launch: task.launches, value, room, sum: createHash('sha256'), received: 0 }
    }
    try {
      if (offset === upload.received) await this.#append(ctx, task, upload, piece.content)
    } catch (error) {
      if (!this.#uploads.has(runId)) upload.room[Symbol.dispose]()
      throw error
    }
    if (upload.received === size) await this.#complete(ctx, task, upload)
    return upload.received
  }

  #ensureFits({ sha256, content }: CheckpointPiece, size: number, offset: number): void {
    const { pieceBytes, bytesMax } = this.bounds
    if (size > bytesMax)
      throw new DomainError(
        'checkpoint-too-large',
        `The checkpoint has ${size} bytes, more than the ${bytesMax} that a SuperLink keeps: leave out what can be computed again.`,
      )
    const isPiece = offset % pieceBytes === 0 && content.length === Math.min(pieceBytes, size - offset)
    if (!isPiece || content.length === 0 || !/^[0-9a-f]{64}$/.test(sha256))
      throw new DomainError(
        'invalid-request',
        `A piece of a checkpoint has ${pieceBytes} bytes, the last one the rest.`,
      )
  }

  async #append({ db, tasks }: PieceContext, task: Task, upload: Upload, content: Uint8Array): Promise<void> {
    const { value, received } = upload
    await db.transaction(async (tx, afterCommit) => {
      await tasks.ensureSameLaunch(tx, task)
      if (upload.received !== received) return
      // From here on, the end of the run finds it.
      this.#uploads.set(task.runId, upload)
      await appendPiece(tx, { parts: value.parts, from: received, content })
      afterCommit(() => {
        upload.sum.update(content)
        upload.received = received + content.length
        upload.room.release(content.length)
      })
    })
  }

  async #complete({ db, clock, tasks }: PieceContext, task: Task, upload: Upload): Promise<void> {
    const { runId } = task
    const { value: context, sha256, launch } = upload
    if (upload.sum.copy().digest('hex') !== sha256) {
      await this.#drop(runId)
      throw new DomainError('invalid-request', 'The pieces of the checkpoint do not have its hash: save it again.')
    }
    await db.transaction(async (tx, afterCommit) => {
      await tasks.ensureSameLaunch(tx, task)
      if (this.#uploads.get(runId) !== upload) return
      const prepared = { context, sha256 }
      await checkpointStore.insert(tx, { runId, savedAt: clock.now(), launch, prepared })
      afterCommit(() => {
        if (this.#uploads.get(runId) === upload) this.#uploads.delete(runId)
        upload.room[Symbol.dispose]()
      })
    })
  }

  /** Removes what is stored of an incomplete checkpoint. */
  async #drop(runId: RunId): Promise<void> {
    const upload = this.#uploads.get(runId)
    this.#uploads.delete(runId)
    upload?.room[Symbol.dispose]()
    await upload?.value[Symbol.asyncDispose]()
  }
}

type PieceContext = Pick<SuperlinkContext, 'db' | 'clock' | 'tasks' | 'quotas'>

/** One piece of the checkpoint that a ServerApp starts from. */
export async function findPiece(
  { db, checkpointUploads }: Pick<SuperlinkContext, 'db' | 'checkpointUploads'>,
  { runId }: Task,
  { sha256, offset }: { readonly sha256: string; readonly offset: bigint },
  makeRoom?: MakeRoom,
): Promise<Uint8Array> {
  const { pieceBytes } = checkpointUploads.bounds
  const stored = await checkpointStore.findBySha256(db.read, runId, sha256)
  const from = Number(offset)
  if (!stored || from >= stored.size || from % pieceBytes !== 0)
    throw new DomainError('invalid-request', 'There is no such piece of a checkpoint.')
  const { content, parts } = stored.value
  const to = Math.min(from + pieceBytes, stored.size)
  if (parts === null) return content.subarray(from, to)
  await makeRoom?.(to - from)
  const piece = await readPiece(db.read, { parts, from, to })
  if (!piece) throw new DomainError('unavailable', 'The checkpoint was replaced: try again.')
  return piece
}
