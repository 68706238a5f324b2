import { readFileSync } from 'node:fs'
import type { AppsAfterPause } from '../../tasks/leases.ts'
import type { SuperlinkConfig } from '../config.ts'
import type { SuperlinkContext } from '../context.ts'
import * as settingStore from './setting-store.ts'

const setting = 'apps'

/**
 * What has become of the apps of the last start of this SuperLink. They have ended if it ended with them, if the machine was
 * started since, and if this is the first process of a container: it has no process from before.
 */
export async function takeAppsOfLastStart(
  { db }: Pick<SuperlinkContext, 'db'>,
  { isolation, keepAppsMinutes }: Pick<SuperlinkConfig, 'isolation' | 'keepAppsMinutes'>,
  here: { readonly bootId: string; readonly pid: number } = { bootId: readBootId(), pid: process.pid },
): Promise<AppsAfterPause> {
  const running = `running ${here.bootId}`
  const mayLive = (await settingStore.find(db.read, setting)) === running && here.pid !== 1
  await db.transaction((tx) => settingStore.put(tx, setting, running))
  return isolation === 'subprocess' && (!mayLive || keepAppsMinutes === 0) ? 'ended' : 'restarted'
}

/** The SuperExec of this SuperLink has ended, and its apps with it. */
export function noteAppsEnded({ db }: Pick<SuperlinkContext, 'db'>): Promise<void> {
  return db.transaction((tx) => settingStore.put(tx, setting, 'ended'))
}

/** Another one after each start of the machine; empty where the system has none. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}
