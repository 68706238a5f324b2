import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command } from 'commander'
import { DomainError, UsageError } from '../../base/errors.ts'
import { installFab } from '../../fab/install-fab.ts'
import { type CreateCommand, formatOption } from '../command.ts'
import { flwrHome } from '../home.ts'
import { runCommand } from '../output.ts'

export const installCommand: CreateCommand = (context) =>
  new Command('install')
    .description('check a FAB and unpack it below FLWR_HOME')
    .argument('<fab>', 'FAB file, created by flwr build')
    .addOption(formatOption())
    .action(async (path: string, options: { format: string }) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const bytes = readFab(path)
        const { directory, manifest, installed } = await installFab(bytes, flwrHome()).catch((error: unknown) => {
          throw error instanceof DomainError ? new UsageError(`${basename(path)}: ${error.message}`) : error
        })
        output.say(
          installed
            ? `Successfully installed ${manifest.name} to ${directory}.`
            : `${manifest.name} is installed already, in ${directory}.`,
        )
        output.note(`Run it with flwr run ${directory}`)
        output.answer({ success: true, name: manifest.name, directory, 'newly-installed': installed })
        return undefined
      })
    })

/** The name of the file tells the hash, so a damaged or exchanged file is found before it is opened. */
function readFab(path: string): Uint8Array {
  if (!path.endsWith('.fab')) throw new UsageError(`${path} is not a .fab file: make one with flwr build.`)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw new UsageError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause })
  }
  const [, told] = /\.([0-9a-f]{8})\.fab$/.exec(path) ?? []
  const real = hash('sha256', bytes, 'hex').slice(0, 8)
  if (told === undefined)
    throw new UsageError(`The name of ${path} lacks the hash: flwr build names it PUBLISHER.NAME.VERSION.${real}.fab.`)
  if (told !== real)
    throw new UsageError(`${path} was changed after it was built: its hash is ${real}, not ${told}. Build it again.`)
  return bytes
}
