import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { TestProgram } from './program.ts'

/**
 * Runs a program in a network of its own, where every port is free and names have the addresses that a test gives them.
 * All processes that it leaves behind end with it.
 */

const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
const unshare = [...asRoot, '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']

/** Why a program cannot have a network of its own here, or `false`. */
export const withoutOwnNetwork = ((): string | false => {
  const tried = spawnSync('unshare', [...unshare, 'ip', 'link', 'set', 'lo', 'up'])
  return tried.status === 0 ? false : 'a network name space needs Linux, unshare, ip, and root or user name spaces'
})()

export interface OwnNetworkOptions {
  /** Names of the loopback interface. */
  readonly hosts: readonly string[]
  /** A folder for the file with the names. */
  readonly folder: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
}

export function startInOwnNetwork(command: readonly string[], options: OwnNetworkOptions): TestProgram {
  const { hosts, folder, cwd, env } = options
  const hostsFile = `${folder}/hosts`
  writeFileSync(hostsFile, `127.0.0.1 localhost ${hosts.join(' ')}\n`)
  const setup = `ip link set lo up && mount --bind '${hostsFile}' /etc/hosts && exec "$@"`
  const child = spawn('unshare', [...unshare, 'sh', '-c', setup, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...{ cwd, env },
  })
  return new TestProgram('unshare', child)
}
