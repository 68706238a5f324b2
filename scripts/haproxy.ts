import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { libraryPath, unpackPackage } from './debian.ts'
import { isDebian12 } from './stunnel.ts'

const installed = '/usr/sbin/haproxy'
const complete = join(import.meta.dirname, '..', '.cache', 'haproxy-1')

/**
 * Returns where HAProxy is, for the tests with a load balancer: as Debian has installed it, else its packages, unpacked into
 * `.cache/`. If they are not available this prints a message, and the tests are skipped; in CI on Debian 12 it throws.
 */
export function prepareHaproxy(): Record<string, string> {
  try {
    if (existsSync(installed)) return { TRELLIS_HAPROXY: installed }
    if (!existsSync(complete)) unpackPackage('haproxy', complete)
    return {
      TRELLIS_HAPROXY: join(complete, 'usr', 'sbin', 'haproxy'),
      TRELLIS_HAPROXY_LIBRARIES: libraryPath(complete),
    }
  } catch (error) {
    if (process.env.CI === 'true' && isDebian12()) throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`The tests with HAProxy are skipped: Debian's packages are not available: ${reason}\n`)
    return {}
  }
}
