import { Command } from 'commander'
import { type CreateCommand, formatOption, group } from '../command.ts'
import { readFlowerConfig } from '../flower-config.ts'
import { flwrHome } from '../home.ts'
import { runCommand } from '../output.ts'

export const configCommand: CreateCommand = (context) =>
  group('config', 'the connections of this user', [
    new Command('list')
      .alias('ls')
      .description('list the connections in config.toml')
      .addOption(formatOption())
      .action(async (options: { format: string }) => {
        context.status = await runCommand(context, options.format, async (output) => {
          const { path, names, defaultName } = readFlowerConfig(flwrHome(), (created) =>
            output.note(`Wrote ${created}, which names your SuperLinks.`),
          )
          output.say(`Flower Config file: ${path}`)
          output.say('SuperLink connections:')
          for (const name of names) output.say(`  ${name}${name === defaultName ? ' (default)' : ''}`)
          output.answer({ superlink: names, default: defaultName ?? null })
          return undefined
        })
      }),
  ])
