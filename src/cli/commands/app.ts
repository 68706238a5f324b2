import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { type CreateCommand, group } from '../command.ts'

/** Flower Hub is a service of Flower Labs; apps are run from folders here. */
export const appCommand: CreateCommand = () =>
  group('app', 'publish or review apps on Flower Hub (not supported)', [
    unsupported('publish', '[path]'),
    unsupported('review', '<app>'),
  ])

function unsupported(name: string, argument: string): Command {
  return new Command(name)
    .description('not supported')
    .argument(argument)
    .action(() => {
      throw new UsageError(
        `flwr app ${name} talks to Flower Hub, which Trellis does not: use the flwr command of Flower for it, or share the .fab that flwr build makes.`,
      )
    })
}
