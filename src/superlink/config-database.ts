import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { inMemory } from '../db/database.ts'
import { isPostgresUrl, type PostgresTarget, parsePostgresUrl } from '../db/postgres/target.ts'
import { memoryName } from './options.ts'

/** Where the state is kept, and large objects. */
export type DatabaseConfig =
  | { readonly engine: 'memory'; readonly storageDirectory: string | undefined }
  | { readonly engine: 'sqlite'; readonly path: string; readonly storageDirectory: string | undefined }
  | { readonly engine: 'postgres'; readonly target: PostgresTarget; readonly storageDirectory: string | undefined }

/** Throws a UsageError for a URL that is wrong, or a database server without a place for large objects. */
export function readDatabase(
  { database, storageDir, storage, simulation }: OptionValues,
  environment: NodeJS.ProcessEnv = process.env,
): DatabaseConfig {
  const name = (database as string).trim()
  const storageDirectory = storageDir as string | undefined
  if (isPostgresUrl(name)) {
    const target = parsePostgresUrl(name, environment)
    if (storageDirectory === undefined && storage === undefined)
      throw new UsageError(
        '--database postgres://… needs a place for large objects: --storage-dir DIR, which standbys share, or --storage s3://BUCKET/PREFIX.',
      )
    if (simulation === true)
      throw new UsageError(
        '--simulation keeps its state on this machine: name a file with --database, or leave it out.',
      )
    return { engine: 'postgres', target, storageDirectory }
  }
  if (/^[\w+.-]+:\/\//.test(name) && !/^sqlite:\/\/\//.test(name))
    throw new UsageError(
      `--database: ${name.split(':')[0]} is not supported: name a file, or postgres://USER@HOST/DATABASE.`,
    )
  if (name === memoryName || name === inMemory || name === '') return { engine: 'memory', storageDirectory }
  return { engine: 'sqlite', path: (database as string).replace(/^sqlite:\/\/\//, ''), storageDirectory }
}

/** Throws a UsageError for a URL that is wrong. Takes the password out of the environment. */
export function readPostgresUrl(url: string, environment: NodeJS.ProcessEnv = process.env): PostgresTarget {
  return parsePostgresUrl(url, environment)
}

/** The folder for what is kept beside the database; `undefined` if it is to be a temporary one. */
export function besideState(database: DatabaseConfig, what: 'objects' | 'object-cache' | 'crls'): string | undefined {
  const { engine, storageDirectory } = database
  if (what !== 'crls' && storageDirectory !== undefined) return storageDirectory
  const beside = engine === 'sqlite' ? database.path : engine === 'postgres' ? storageDirectory : undefined
  return beside === undefined ? undefined : `${beside}.${what}`
}

/** How messages name where the state is. */
export function stateName(database: DatabaseConfig): string {
  if (database.engine === 'memory') return inMemory
  return database.engine === 'sqlite' ? database.path : database.target.label
}
