import { accessSync, constants, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { stringify } from 'smol-toml'
import { UsageError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'
import { parseToml } from '../base/toml.ts'
import { readFlowerConfig } from './flower-config.ts'

type Table = Record<string, unknown>

/** What has moved, by the names in config.toml. */
export interface MovedConnections {
  readonly path: string
  /** Names in config.toml, by their names in the app. */
  readonly names: ReadonlyMap<string, string>
  /** Names of connections of config.toml that the app's own ones replaced. */
  readonly replaced: readonly string[]
  readonly defaultName: string | undefined
  readonly defaultIsNew: boolean
}

/**
 * Connections once stood in `[tool.flwr.federations]` of an app. As Flower does, they go to config.toml, where one of the
 * same name is replaced, and are commented out in the app; comments stay in both files. Unlike with Flower, the default of an
 * existing config.toml stays what it is: a connection of the app with its name gets another name. Returns `undefined` if the
 * folder has no connections. Throws a UsageError if the connection `wanted` is not among them, or if a file is written in a
 * way that cannot be edited.
 */
export function moveLegacyConnections(folder: string, home: string, wanted?: string): MovedConnections | undefined {
  const file = join(folder, 'pyproject.toml')
  const source = readText(file)
  const project = source === undefined ? undefined : parseProject(source)
  const federations = table(table(table(project?.tool)?.flwr)?.federations)
  if (source === undefined || project === undefined || federations === undefined) return undefined
  const fromApp = connectionsOf(federations, folder)
  if (Object.keys(fromApp).length === 0 || !isWritable(file)) return undefined
  if (wanted !== undefined && !Object.hasOwn(fromApp, wanted))
    throw new UsageError(
      `${file} has no connection '${wanted}': its connections are ${Object.keys(fromApp).join(', ')}.`,
    )

  const commented = commentOut(source)
  delete table(table(project.tool)?.flwr)?.federations
  ensure(withoutEmptyTables(parseProject(commented)), withoutEmptyTables(project), `${file}: [tool.flwr.federations]`)
  let isCreated = false
  const { path, defaultName, connections } = readFlowerConfig(home, () => {
    isCreated = true
  })
  const standing = isCreated ? undefined : defaultName
  const names = namesInConfig(fromApp, connections, standing)
  const moved = Object.fromEntries(Object.entries(fromApp).map(([name, one]) => [names.get(name) ?? name, one]))
  const chosen = standing === undefined ? names.get(String(federations.default)) : undefined
  const config = readFileSync(path, 'utf8')
  const edited = editConfig(config, moved, chosen)
  const superlink = { ...table(parseToml(config).superlink), ...moved, ...(chosen ? { default: chosen } : {}) }
  ensure(parseProject(edited), { ...parseToml(config), superlink }, path)
  replaceFile(path, edited)
  replaceFile(file, commented)
  const replaced = Object.keys(moved).filter(
    (name) => !isCreated && connections.has(name) && !isSame(connections.get(name), moved[name]),
  )
  return { path, names, replaced, defaultName: chosen ?? defaultName, defaultIsNew: chosen !== undefined }
}

/** Says what has moved and how to use it, e.g. the one that the app calls `wanted`. `command` lacks its last argument. */
export function movedText(moved: MovedConnections, command: string, wanted?: string): string {
  const { path, names, replaced, defaultName, defaultIsNew } = moved
  const list = (some: Iterable<string>): string => printable([...some].join(', '))
  const [first = ''] = names.values()
  const example = names.get(wanted ?? '') ?? first
  const renamed = [...names].filter(([nameInApp, name]) => nameInApp !== name)
  return [
    `The connections of the app were moved to ${path}: ${list(names.values())}.`,
    ...(replaced.length > 0 ? [`They replace earlier ones: ${list(replaced)}.`] : []),
    ...renamed.map(([nameInApp, name]) =>
      printable(`'${nameInApp}' of the app is '${name}' there, because '${nameInApp}' is your default.`),
    ),
    printable(
      `The default is ${defaultIsNew ? 'now' : 'still'} ${defaultName === undefined ? 'none' : `'${defaultName}'`}.`,
    ),
    `To use one of them, name it: ${command} ${printable(example)}`,
  ].join(' ')
}

/** A connection of the app with the name of the default gets a free name, unless both are the same. */
function namesInConfig(
  fromApp: Readonly<Record<string, Table>>,
  connections: ReadonlyMap<string, unknown>,
  standing: string | undefined,
): ReadonlyMap<string, string> {
  const names = new Map(Object.keys(fromApp).map((name) => [name, name]))
  if (standing === undefined || !names.has(standing) || isSame(connections.get(standing), fromApp[standing]))
    return names
  let number = 2
  while (connections.has(`${standing}-${number}`) || names.has(`${standing}-${number}`)) number++
  return names.set(standing, `${standing}-${number}`)
}

/** What Flower kept of them; a path is as seen from the app. */
function connectionsOf(federations: Table, folder: string): Record<string, Table> {
  const connections: Record<string, Table> = {}
  for (const [name, value] of Object.entries(federations)) {
    const old = table(value)
    if (!old) continue
    const kept = ['address', 'insecure', 'root-certificates', 'federation', 'options'].filter((key) => key in old)
    const connection = Object.fromEntries(kept.map((key) => [key, old[key]]))
    if (connection.options !== undefined) connection.address ??= ':local:'
    const roots = connection['root-certificates']
    if (typeof roots === 'string') connection['root-certificates'] = resolve(folder, roots)
    connections[name] = connection
  }
  return connections
}

const header = /^\s*\[/
const legacyHeader = /^\s*\[\s*tool\s*\.\s*flwr\s*\.\s*federations\s*[.\]]/
const notice = `# These connections have moved to config.toml in ~/.flwr, or in FLWR_HOME: name one with flwr run APP NAME.
`

function commentOut(source: string): string {
  let isLegacy = false
  let isFirst = true
  const lines = source.split('\n').map((line) => {
    if (header.test(line)) isLegacy = legacyHeader.test(line)
    if (!isLegacy || line.trim() === '') return line
    const before = isFirst ? notice : ''
    isFirst = false
    return `${before}# ${line}`
  })
  return lines.join('\n')
}

function editConfig(config: string, moved: Record<string, Table>, chosen: string | undefined): string {
  let section = ''
  let isChosen = chosen === undefined
  const lines: string[] = []
  for (const line of config.split('\n')) {
    if (header.test(line)) section = /^\s*\[\s*([^\]]*?)\s*\]/.exec(line)?.[1] ?? ''
    const [first, name = ''] = section.split('.').map((part) => part.trim().replace(/^["'](.*)["']$/, '$1'))
    if (first === 'superlink' && name in moved && !/^\s*(#|$)/.test(line)) continue
    const isDefault = section === 'superlink' && /^\s*default\s*=/.test(line)
    if (isDefault && chosen !== undefined) isChosen = true
    lines.push(isDefault && chosen !== undefined ? `default = ${JSON.stringify(chosen)}` : line)
  }
  const start = lines.findIndex((line) => /^\s*\[\s*superlink\s*\]/.test(line))
  if (!isChosen && start >= 0) lines.splice(start + 1, 0, `default = ${JSON.stringify(chosen)}`)
  const rest = !isChosen && start < 0 ? `[superlink]\ndefault = ${JSON.stringify(chosen)}\n\n` : ''
  return `${lines.join('\n').trimEnd()}\n\n${rest}${stringify({ superlink: moved }).trimEnd()}\n`
}

/** An edit of lines is only good when the file then says what it must. */
function ensure(actual: unknown, wanted: unknown, where: string): void {
  if (!isSame(actual, wanted))
    throw new UsageError(
      `${where} is written in a way that cannot be edited: move the connections of [tool.flwr.federations] to config.toml by hand.`,
    )
}

function isSame(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(plain(one), plain(other))
}

/** Tables have no prototype in one, and one in the other. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null))

/** `tool.flwr` need not be there any more when all of it has moved. */
function withoutEmptyTables(project: Table | undefined): unknown {
  const tool = { ...table(project?.tool) }
  if (Object.keys(table(tool.flwr) ?? {}).length === 0) delete tool.flwr
  return { ...project, tool }
}

function table(value: unknown): Table | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Table) : undefined
}

/** Faults of a file are reported when it is used. */
function parseProject(text: string): Table | undefined {
  try {
    return parseToml(text)
  } catch {
    return undefined
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function isWritable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Whole or not at all, with the permissions that it had, and through a link. */
function replaceFile(path: string, text: string): void {
  const real = realpathSync(path)
  writeFileSync(`${real}.new`, text, { mode: statSync(real).mode })
  renameSync(`${real}.new`, real)
}
