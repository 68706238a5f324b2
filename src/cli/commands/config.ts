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
        context.status = await runCommand(options.format, async (output) => {
          const { path, names, defaultName } = readFlowerConfig(flwrHome(), (created) =>
            output.say(`Flower configuration not found. Created default configuration at ${created}`),
          )
          output.say(`Flower Config file: ${path}`)
          output.say('SuperLink connections:')
          for (const name of names) output.say(`  ${name}${name === defaultName ? ' (default)' : ''}`)
          return { json: { superlink: names, default: defaultName ?? null } }
        })
      }),
  ])
