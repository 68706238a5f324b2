import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { type CreateCommand, group } from '../command.ts'

/** Flower Hub is a service of Flower Labs; apps are run from folders here. */
export const appCommand: CreateCommand = () =>
  group('app', 'publish or review apps on Flower Hub (not supported)', [
    unsupported('publish', '[path]'),
    unsupported('review', '<app>'),
  ])

/** `flwr chat` talks to the agents of a SuperLink of Flower. */
export const chatCommand: CreateCommand = () =>
  new Command('chat').description('not supported').action(() => {
    throw new UsageError(
      'flwr chat talks to AgentApps, which Trellis does not run: use the flwr command of Flower with a SuperLink of Flower.',
    )
  })

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
