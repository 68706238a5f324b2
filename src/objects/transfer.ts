import { forEachAtOnce } from '../base/at-once.ts'
import { limits } from '../base/limits.ts'

/** Moves the objects of messages between two programs: several in flight, each read only when its turn comes. */

/** The other end does not take an object: its bytes are not what its name says, or no message waits for it (any more). */
export class ObjectRefusedError extends Error {
  override readonly name = 'ObjectRefusedError'
}

/**
 * Uploads `ids` in order. `push` returns whether the object was stored. A refusal ends the transfer with an
 * ObjectRefusedError, unless `isStored` knows better: a server that has the object from an earlier try, whose answer was
 * lost, refuses it.
 */
export async function pushObjects<C = Uint8Array>(options: {
  readonly ids: readonly string[]
  readonly read: (id: string) => C | Promise<C>
  readonly push: (id: string, content: C) => Promise<boolean>
  readonly isStored?: (id: string) => Promise<boolean>
}): Promise<void> {
  await forEachAtOnce(options.ids, limits.transfersAtOnce, async (id) => {
    if (await options.push(id, await options.read(id))) return
    if (!(await options.isStored?.(id))) throw new ObjectRefusedError(`Object ${id} was refused.`)
  })
}

/** The objects of a message are gone, or did not come in time: the message is lost, the connection is not. */
export class ObjectsUnavailableError extends Error {
  override readonly name = 'ObjectsUnavailableError'
}

/** What a server says about an object. */
export interface PulledObject {
  readonly objectFound: boolean
  readonly objectAvailable: boolean
}

/**
 * Downloads `ids` (children before parents), skipping those that `has` knows, so that a broken transfer goes on where it
 * ended. An object that is announced but not uploaded yet is asked for again after 1, 2, 4 … 10 s, at once when the server
 * held the call. Throws an ObjectsUnavailableError when an object is not known or does not come in time.
 */
export async function pullObjects<P extends PulledObject>(options: {
  readonly ids: readonly string[]
  readonly has?: (id: string) => boolean | Promise<boolean>
  readonly pull: (id: string) => Promise<P & { waited?: boolean }>
  readonly write: (id: string, pulled: P) => void | Promise<void>
  /** Takes a response without a use, which may have come with a content all the same. */
  readonly discard?: (pulled: P) => void | Promise<void>
  readonly sleep: (ms: number) => Promise<void>
  readonly timeoutMs?: number
}): Promise<void> {
  const { timeoutMs = 7_200_000 } = options
  const endsAt = performance.now() + timeoutMs
  await forEachAtOnce(options.ids, limits.transfersAtOnce, async (id) => {
    if (await options.has?.(id)) return
    for (let waitMs = 1000; ; waitMs = Math.min(waitMs * 2, 10_000)) {
      const answer = await options.pull(id)
      if (!answer.objectFound || !answer.objectAvailable) await options.discard?.(answer)
      if (!answer.objectFound) throw new ObjectsUnavailableError(`Object ${id} is not known at the other end.`)
      if (answer.objectAvailable) return void (await options.write(id, answer))
      if (performance.now() > endsAt)
        throw new ObjectsUnavailableError(`Object ${id} did not become available in ${timeoutMs / 1000} s.`)
      if (!answer.waited) await options.sleep(waitMs * (0.8 + Math.random() * 0.4))
    }
  })
}
