import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type OuterSpan, parseTraceParent } from '../base/traces.ts'

/** Flower's folder of this user: `FLWR_HOME` as it is, else `~/.flwr`. */
export function flwrHome(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.FLWR_HOME || join(homedir(), '.flwr')
}

/** A fingerprint of what decides which programs, and which Python, a background program of this user finds. */
export function programsFingerprint(environment: NodeJS.ProcessEnv = process.env): string {
  const { PATH, VIRTUAL_ENV, PYTHONPATH } = environment
  return createHash('sha256')
    .update(JSON.stringify([PATH, VIRTUAL_ENV, PYTHONPATH]))
    .digest('hex')
}

/** Returns the span of the program that started this one, for example of a pipeline, if there is one. */
export function outerSpan(environment: NodeJS.ProcessEnv = process.env): OuterSpan | undefined {
  return environment.TRACEPARENT === undefined ? undefined : parseTraceParent(environment.TRACEPARENT)
}
