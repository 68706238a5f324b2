import type { AppsAfterPause } from '../../tasks/leases.ts'
import type { SuperlinkConfig } from '../config.ts'
import type { SuperlinkContext } from '../context.ts'
import * as settingStore from './setting-store.ts'

const setting = 'apps'

/** What has become of the apps of the last start of this SuperLink. Only a planned end without them is known for sure. */
export async function takeAppsOfLastStart(
  { db }: Pick<SuperlinkContext, 'db'>,
  { isolation, keepAppsMinutes }: Pick<SuperlinkConfig, 'isolation' | 'keepAppsMinutes'>,
): Promise<AppsAfterPause> {
  const haveEnded = (await settingStore.find(db.read, setting)) === 'ended'
  await db.transaction((tx) => settingStore.put(tx, setting, 'running'))
  return isolation === 'subprocess' && (haveEnded || keepAppsMinutes === 0) ? 'ended' : 'restarted'
}

/** The SuperExec of this SuperLink has ended, and its apps with it. */
export function noteAppsEnded({ db }: Pick<SuperlinkContext, 'db'>): Promise<void> {
  return db.transaction((tx) => settingStore.put(tx, setting, 'ended'))
}
