import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { CreateCommand } from '../command.ts'
import { newAppFiles } from '../new-app.ts'
import { runCommand } from '../output.ts'

export const newCommand: CreateCommand = (context) =>
  new Command('new')
    .description('write a new TypeScript app that runs as it is')
    .argument('<name>', 'name of the app and of its folder')
    .option('--publisher <name>', 'who publishes the app', process.env.USER ?? 'me')
    .action(async (name: string, options: { publisher: string }) => {
      context.status = await runCommand('default', async (output) => {
        if (name.startsWith('@'))
          throw new UsageError(`'${name}' is an app on Flower Hub, which Trellis does not fetch from: give a new name.`)
        if (!/^[a-zA-Z][a-zA-Z0-9-]{0,31}$/.test(name))
          throw new UsageError(
            `'${name}' cannot be the name of an app: start with a letter, then letters, digits and hyphens, 32 at most.`,
          )
        if (existsSync(name))
          throw new UsageError(`There is a '${name}' here already: choose another name or move it away.`)
        for (const [path, content] of Object.entries(newAppFiles(name, options.publisher))) {
          mkdirSync(dirname(join(name, path)), { recursive: true })
          writeFileSync(join(name, path), content)
        }
        output.say(
          `Created the app '${name}'. Run it on the SuperLink of your default connection with:\n\n  flwr run ${name} --stream\n`,
        )
        return undefined
      })
    })
