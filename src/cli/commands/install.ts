import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command } from 'commander'
import { DomainError, UsageError } from '../../base/errors.ts'
import { installFab } from '../../fab/bundle.ts'
import type { CreateCommand } from '../command.ts'
import { flwrHome } from '../home.ts'
import { runCommand } from '../output.ts'

export const installCommand: CreateCommand = (context) =>
  new Command('install')
    .description('unpack a FAB, checked, below FLWR_HOME')
    .argument('<fab>', 'file that flwr build made')
    .action(async (path: string) => {
      context.status = await runCommand('default', async (output) => {
        if (!path.endsWith('.fab')) throw new UsageError(`${path} is not a .fab file: make one with flwr build.`)
        let bytes: Uint8Array
        try {
          bytes = readFileSync(path)
        } catch (cause) {
          throw new UsageError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause })
        }
        const { directory, manifest, installed } = await installFab(bytes, flwrHome()).catch((error: unknown) => {
          throw error instanceof DomainError ? new UsageError(`${basename(path)}: ${error.message}`) : error
        })
        output.say(
          installed
            ? `Successfully installed ${manifest.name} to ${directory}.`
            : `${manifest.name} is installed already, in ${directory}.`,
        )
        return undefined
      })
    })
