import { UsageError } from '../../base/errors.ts'
import type { Listener } from '../../rpc/listener.ts'
import type { SuperlinkContext } from '../context.ts'
import * as settingStore from './setting-store.ts'

const setting = 'apps-port'

/**
 * Opens a port of this machine that the system chooses, and the same one at each later start: apps that have outlived
 * their SuperLink look for it there. If another program has taken that port, a new one is opened.
 */
export async function listenForApps(
  { db, log }: Pick<SuperlinkContext, 'db' | 'log'>,
  listen: (address: string) => Promise<Listener>,
): Promise<Listener> {
  const known = await settingStore.find(db.read, setting)
  const listener = await listen(`127.0.0.1:${known ?? 0}`).catch((error: unknown) => {
    if (known === undefined || !(error instanceof UsageError)) throw error
    log.warn('Another program has taken the port for apps: ServerApps from before this start cannot come back', {
      port: known,
    })
    return listen('127.0.0.1:0')
  })
  await db.transaction((tx) => settingStore.put(tx, setting, String(listener.address.port)))
  return listener
}
