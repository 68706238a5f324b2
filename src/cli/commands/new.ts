import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Command, Option } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { type CliContext, type CreateCommand, formatOption } from '../command.ts'
import { newAppFiles, type TemplateName, templates } from '../new-app.ts'
import { runCommand } from '../output.ts'

export const newCommand: CreateCommand = (context) =>
  new Command('new')
    .description('create a new TypeScript app, ready to run')
    .argument('[name]', 'name of the app and of its folder')
    .option('--publisher <name>', 'publisher of the app')
    .addOption(
      new Option('--template <name>', `app to start from: ${listed}`)
        .choices(Object.keys(templates))
        .default('typescript' satisfies TemplateName),
    )
    .addOption(formatOption())
    .addOption(removed('--framework', 'apps of Trellis need no framework: leave it out.'))
    .addOption(removed('--username', 'use --publisher.'))
    .action(
      async (given: string | undefined, options: { publisher?: string; template: TemplateName; format: string }) => {
        context.status = await runCommand(context, options.format, async (output) => {
          const name = given ?? (await askName(context))
          const publisher = options.publisher ?? userName()
          ensureNames(name, publisher)
          if (existsSync(name))
            throw new UsageError(`There is a '${name}' here already: choose another name or move it away.`)
          writeFiles(name, newAppFiles(name, publisher, options.template))
          output.say(
            `Created the app '${name}'. Run it on your default connection, or on virtual SuperNodes of this machine:\n\n  flwr run ${name} --stream\n  flwr run ${name} :local: --stream\n\nTo change it, with types and a test: npm install, npx tsc and npm test in its folder.\n`,
          )
          output.answer({ success: true, name, folder: resolve(name), template: options.template })
          return undefined
        })
      },
    )

const listed = Object.entries(templates)
  .map(([name, { about }]) => `${name} ${about}`)
  .join('; ')

/** Flower lists these and refuses them. */
function removed(flag: string, remedy: string): Option {
  return new Option(`${flag} <name>`).hideHelp().argParser(() => {
    throw new UsageError(`flwr new: ${flag} was removed: ${remedy}`, { exitStatus: 2 })
  })
}

async function askName(context: CliContext): Promise<string> {
  if (!process.stdin.isTTY) throw new UsageError('flwr new needs a name for the app: flwr new NAME', { exitStatus: 2 })
  using lines = createInterface({ input: process.stdin, output: process.stdout })
  return (await lines.question('Name of the app: ', { signal: context.signal })).trim()
}

function ensureNames(name: string, publisher: string): void {
  if (name.startsWith('@'))
    throw new UsageError(`'${name}' is an app on Flower Hub, which Trellis does not fetch from: give a new name.`)
  if (!/^[a-zA-Z][a-zA-Z0-9-]{0,31}$/.test(name))
    throw new UsageError(
      `'${name}' cannot be the name of an app: start with a letter, then letters, digits and hyphens, 32 at most.`,
    )
  if (!/^[\w.-]+$/.test(publisher))
    throw new UsageError(`--publisher must consist of letters, digits, points, hyphens and underscores.`)
}

function userName(): string {
  try {
    return userInfo().username.replace(/[^\w.-]/g, '') || 'me'
  } catch {
    // Containers run under ids that have no name.
    return 'me'
  }
}

function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  try {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), content)
    }
  } catch (cause) {
    throw new UsageError(`${folder} cannot be written here (${(cause as NodeJS.ErrnoException).code}).`, { cause })
  }
}
