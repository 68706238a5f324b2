import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { etcdFolders } from './api-server.ts'
import { clusterCache } from './cluster-programs.ts'
import { removeContainers, runtimeFolder } from './containers.ts'
import { networkSpaces } from './pod-network.ts'

/** Removes what interrupted runs of this user left behind: containers, and files whose name has the id of an ended process. */
export function removeLeftovers(): void {
  if (process.getuid?.() === 0) removeContainers()
  for (const path of leftIn(clusterCache, /\.(\d+)$/)) remove(path)
  for (const path of leftIn(etcdFolders.parent, etcdFolders.made)) remove(path)
  for (const path of leftIn(networkSpaces.parent, networkSpaces.made))
    execFileSync('ip', ['netns', 'delete', basename(path)])
}

/** Removes everything that earlier runs fetched and built, so that the next one starts from nothing. */
export function removeCache(): void {
  for (const folder of [clusterCache, runtimeFolder()]) remove(folder)
}

/** Returns the entries of `folder` that a process made which no longer runs; the first group of `made` is its id. */
function leftIn(folder: string, made: RegExp): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => {
      const pid = made.exec(name)?.[1]
      return pid !== undefined && !existsSync(join('/proc', pid))
    })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).uid === process.getuid?.())
}

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true })
}
