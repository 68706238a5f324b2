import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { AcquiredTask } from '../app-api/task-source.ts'
import type { SuperexecConfig } from './config.ts'

/**
 * Starts the app process of a Python environment. It speaks the Runtime API since Flower 1.35; the token travels in a file
 * that only this user can read and that goes with the process.
 */
export function startPythonApp(config: SuperexecConfig, task: AcquiredTask): ChildProcess {
  const directory = mkdtempSync(join(tmpdir(), 'trellis-token-'))
  const tokenFile = join(directory, 'token')
  writeFileSync(tokenFile, task.token, { mode: 0o600 })
  const program = config.python === undefined ? task.program : join(dirname(config.python), task.program)
  const args = [
    '--runtime-api-address',
    config.serverAddress,
    ...config.trustArguments,
    '--token-file',
    tokenFile,
    '--parent-pid',
    String(process.pid),
  ]
  if (config.dependencyInstallation) args.push('--allow-runtime-dependency-installation')
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  child.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  child.once('error', () => rmSync(directory, { recursive: true, force: true }))
  return child
}
