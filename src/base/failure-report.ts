import { writeSync } from 'node:fs'

/**
 * How a program that was started in the background says why it failed: besides its log, which other programs may write to,
 * it writes the reason to a file descriptor that it inherits.
 */

const variable = 'TRELLIS_FAILURE_FD'

/** The environment of a child that has this file descriptor for its reason. */
export function environmentWithReport(fd: number): NodeJS.ProcessEnv {
  return { ...process.env, [variable]: String(fd) }
}

/** Returns how to report a failure. To be called once: programs that this one starts fail for reasons of their own. */
export function takeFailureReport(): (reason: string) => void {
  const fd = process.env[variable]
  delete process.env[variable]
  return fd === undefined ? () => {} : (reason) => void writeSync(Number(fd), reason)
}
