import type { Connection } from './call.ts'
import { Refusal } from './translate-errors.ts'

/** Does the work of a call. Throws a Refusal if its peer is rejected, before the work or during it. */
export function unlessRefused<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  const { cutOff, peer } = connection
  if (peer.kind === 'refused') return Promise.reject(new Refusal(peer))
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => {
      if (connection.peer.kind === 'refused') reject(new Refusal(connection.peer))
    }
    cutOff.addEventListener('abort', stop, { once: true })
    work()
      .then(resolve, reject)
      .finally(() => cutOff.removeEventListener('abort', stop))
  })
}
