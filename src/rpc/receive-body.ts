import type { Readable } from 'node:stream'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { ByteRoom } from './byte-shares.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import { CallerGone } from './translate-errors.ts'

export type BodyPace = Pick<ConnectionBounds, 'bodyWindowMs' | 'bodyMsMax'>

/** Whether all of a body has been taken. */
export type Taken = 'more' | 'done'

/**
 * Reads a stream chunk by chunk until `take` says that it has all, or until its end. Each chunk takes its room first, and is
 * not followed by the next one before `take` is through with it. A body that comes too slowly is refused, for it holds memory
 * and a connection; one that waits for room or for the disk is not blamed for it. Leaves the stream open: the response goes
 * out over it.
 */
export function receiveChunks(
  source: Readable,
  room: ByteRoom,
  pace: BodyPace,
  take: (chunk: Buffer) => Taken | Promise<Taken>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = 0
    let waits = false
    let hasEnded = false
    /** Nothing follows the chunk that waits. */
    let isLast = false
    let windows = 0
    const judge = (): void => {
      windows += 1
      if (windows * pace.bodyWindowMs >= pace.bodyMsMax) end(tooLong(pace.bodyMsMax))
      else if (!waits && received < limits.bodyBytesPerWindowMin) end(tooSlow(pace.bodyWindowMs))
      received = 0
    }
    let judging: NodeJS.Immediate | undefined
    // After a stall of this process the timer fires before any socket is read: bytes that have arrived must count.
    const timer = setInterval(() => {
      judging = setImmediate(judge)
    }, pace.bodyWindowMs)
    const end = (error?: unknown): void => {
      if (hasEnded) return
      hasEnded = true
      clearInterval(timer)
      clearImmediate(judging)
      source.off('data', onData).off('end', onEnd).off('close', onGone).off('aborted', onGone).off('error', onGone)
      source.pause()
      if (error === undefined) resolve()
      else reject(error)
    }
    const resumeAfter = <T>(wait: Promise<T>, go: (value: T) => void): void => {
      source.pause()
      waits = true
      wait.then((value) => {
        waits = false
        if (hasEnded) return
        source.resume()
        go(value)
        if (isLast && !waits) end()
      }, end)
    }
    const accept = (chunk: Buffer): void => {
      try {
        const taken = take(chunk)
        if (taken === 'done') end()
        else if (taken !== 'more') resumeAfter(taken, (all) => all === 'done' && end())
      } catch (error) {
        end(error)
      }
    }
    const onData = (chunk: Buffer): void => {
      received += chunk.length
      const wait = room.take(chunk.length)
      if (wait) resumeAfter(wait, () => accept(chunk))
      else accept(chunk)
    }
    const onEnd = (): void => {
      if (waits) isLast = true
      else end()
    }
    const onGone = (): void => {
      if (!isLast) end(new CallerGone())
    }
    if (source.readableEnded) return end()
    if (source.destroyed) return end(new CallerGone())
    source.on('data', onData).once('end', onEnd).once('close', onGone).once('aborted', onGone).once('error', onGone)
    source.resume()
  })
}

function tooSlow(windowMs: number): DomainError {
  return new DomainError(
    'request-too-slow',
    `The body came too slowly: less than ${limits.bodyBytesPerWindowMin} bytes in ${windowMs / 1000} s.`,
  )
}

function tooLong(bodyMsMax: number): DomainError {
  return new DomainError('request-too-slow', `The body took more than ${bodyMsMax / 1000} s.`)
}
