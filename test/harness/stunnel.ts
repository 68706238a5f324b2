import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestProgram } from './program.ts'

const directory = process.env.TRELLIS_STUNNEL

/** Why tests that need a tunnel skip; in CI the set-up fails before. */
export const withoutStunnel = directory === undefined ? "Debian's stunnel is not here" : false

/** A script that stands for the installed program. */
export function stunnelCommand(): string {
  return `#!/bin/sh\nexport LD_LIBRARY_PATH='${directory}/usr/lib/x86_64-linux-gnu'\nexec '${directory}/usr/bin/stunnel4' "$@"\n`
}

/** Starts stunnel with a configuration. Resolves when it listens. */
export async function startStunnel(folder: string, configuration: string): Promise<TestProgram> {
  if (directory === undefined) throw new Error('TRELLIS_STUNNEL names no folder with stunnel')
  const file = join(folder, 'stunnel.conf')
  writeFileSync(file, configuration)
  const child = spawn(join(directory, 'usr', 'bin', 'stunnel4'), [file], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LD_LIBRARY_PATH: join(directory, 'usr', 'lib', 'x86_64-linux-gnu') },
  })
  const program = new TestProgram('stunnel', child)
  await program.line(/Configuration successful/)
  return program
}
