import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { UsageError } from '../base/errors.ts'
import { readFlowerConfig } from './flower-config.ts'
import { flwrHome } from './home.ts'
import { movedText, moveLegacyConnections } from './legacy-connections.ts'

/**
 * The form of commands that Flower had before config.toml: the folder of an app, and the name of one of the connections in
 * its pyproject.toml. The connections are moved, the new form of the command is shown, and the command ends with status 1, as
 * Flower's does. Without arguments, the connections of an app in the current folder are moved and the command goes on.
 */

/** Called before the command. Throws a UsageError that shows the new form if the old one was used. */
export function replaceOldForm(command: Command, path: string): void {
  const count = command.registeredArguments.length
  const connection = command.args[count - 1]
  const [federation, ...more] = command.args.slice(count)
  if (more.length > 0)
    throw new UsageError(`${path}: too many arguments: ${more.join(' ')}.\nTry '${path} --help'.`, { exitStatus: 2 })
  const home = flwrHome()
  if (connection === undefined) {
    moveFromHere(home, [path, ...command.args].join(' '))
    return
  }
  if (federation === undefined && !isFolder(connection, home)) return
  const folder = resolve(connection.replace(/^~(?=$|\/)/, homedir()))
  const moved = moveLegacyConnections(folder, home, federation)
  const others = command.args.slice(0, count - 1)
  const form = [path, ...others].join(' ')
  if (!moved)
    throw new UsageError(
      `'${connection}' has no connections to move: there is no [tool.flwr.federations] in its pyproject.toml, e.g. because they were moved before. Name a connection of config.toml: ${form} ${federation ?? 'NAME'}`,
    )
  throw new UsageError(movedText(moved, form, federation))
}

function moveFromHere(home: string, form: string): void {
  const moved = moveLegacyConnections(process.cwd(), home)
  if (moved) process.stderr.write(`${movedText(moved, form)}\n`)
}

/** A name in config.toml is never taken for a folder. */
function isFolder(text: string, home: string): boolean {
  const looksLikePath = isAbsolute(text) || text.includes('/') || text === '.' || text === '..'
  if (!looksLikePath && !existsSync(join(text, 'pyproject.toml'))) return false
  // Without a config.toml there are no names; reading it would create one, whose default would then be left alone.
  return !existsSync(join(home, 'config.toml')) || !readFlowerConfig(home).names.includes(text)
}
