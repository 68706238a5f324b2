import type { Connection } from './call.ts'
import { Refusal } from './translate-errors.ts'

/** Does the work of a call unless its peer is refused, or becomes so meanwhile: then it throws a Refusal. */
export function unlessRefused<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  const { cutOff, peer } = connection
  if (peer.kind === 'refused') return Promise.reject(new Refusal(peer))
  return new Promise<T>((resolve, reject) => {
    const stop = whenRefused(connection, reject)
    work()
      .then(resolve, reject)
      .finally(() => cutOff.removeEventListener('abort', stop))
  })
}

/** Calls back once with the Refusal; answers the listener, to be taken off the connection's `cutOff`. */
export function whenRefused(connection: Connection, onRefused: (refusal: Refusal) => void): () => void {
  const listener = (): void => {
    const { peer } = connection
    if (peer.kind === 'refused') onRefused(new Refusal(peer))
  }
  connection.cutOff.addEventListener('abort', listener, { once: true })
  return listener
}
