import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { unpackPackage } from './debian.ts'

/** Debian's Chromium without windows, for the tests of the dashboard. */
const name = 'chromium-headless-shell'
const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'chromium-1')

/**
 * Unpacks Chromium, and the libraries that this machine lacks, into `.cache/`; nothing is installed. apt checks the signatures:
 * the version is that of the day, because Debian keeps no older ones. If it is not available this prints a message, and the
 * tests in a browser are skipped; in CI on Linux that is an error.
 */
export function prepareChromium(): Record<string, string> {
  try {
    if (!existsSync(complete)) unpackPackage(name, complete)
    return { TRELLIS_CHROMIUM: complete }
  } catch (error) {
    if (process.env.CI === 'true' && process.platform === 'linux') throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`Tests in a browser are skipped: Debian's Chromium is not available: ${reason}\n`)
    return {}
  }
}
