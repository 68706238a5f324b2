import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import type { AppProgram } from '../app-api/task-api.ts'
import type { TaskTrace } from '../app-api/task-source.ts'

/** The programs of a Python environment with Flower. */
export interface PythonEnvironment {
  readonly interpreter: string | undefined
  /** Flower's version, as major and minor number; `undefined` if it cannot be found out. */
  readonly version: readonly [number, number] | undefined
  /** Path of an app program. */
  program(name: AppProgram): string
}

/**
 * The environment of the interpreter that was given, else the first one on PATH with Flower's programs: ours have the same
 * names, and may come first. Returns `undefined` if there is none.
 */
export function findPythonEnvironment(
  interpreter: string | undefined,
  path = process.env.PATH ?? '',
): PythonEnvironment | undefined {
  if (interpreter !== undefined) return environment(dirname(interpreter), interpreter)
  const folder = path.split(delimiter).find((one) => one !== '' && isPython(join(one, 'flwr-clientapp')))
  if (folder === undefined) return undefined
  const candidates = ['python3', 'python'].map((name) => join(folder, name))
  return environment(folder, candidates.find(existsSync))
}

/**
 * Python holds back output that does not go to a terminal; without that it is shown when it is written. An app with
 * OpenTelemetry continues the trace of its task.
 */
export function unbufferedPython(trace?: TaskTrace): NodeJS.ProcessEnv {
  return { ...process.env, PYTHONUNBUFFERED: '1', ...(trace ? { TRACEPARENT: trace.parent } : {}) }
}

function environment(folder: string, interpreter: string | undefined): PythonEnvironment {
  return {
    interpreter,
    version: interpreter === undefined ? undefined : readVersion(interpreter),
    program: (name) => join(folder, name),
  }
}

/** Asks once; an interpreter that cannot be started is found out when it is to run an app. */
function readVersion(interpreter: string): [number, number] | undefined {
  const question = "from importlib.metadata import version; print(version('flwr'))"
  const { stdout } = spawnSync(interpreter, ['-c', question], { encoding: 'utf8', timeout: 10_000 })
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(stdout ?? '') ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

/** Whether this is a script that starts Python: installers write the interpreter into its first lines. */
function isPython(script: string): boolean {
  try {
    const file = openSync(script, 'r')
    try {
      const start = Buffer.alloc(300)
      readSync(file, start)
      return /python/.test(start.toString('latin1'))
    } finally {
      closeSync(file)
    }
  } catch {
    return false
  }
}
