import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Database, Notices } from '../../src/db/database.ts'
import { openPostgres } from '../../src/db/postgres/postgres-database.ts'
import { parsePostgresUrl } from '../../src/db/postgres/target.ts'

/** Databases for the tests of stores that run on PostgreSQL too. Each one is a copy of a database that has the tables. */

const template = 'prepared'
let underWay = 0
let opened = 0

/** How many databases tests have opened so far. */
export function databasesOpened(): number {
  return opened
}

/** Statements and connections whose response has not arrived. */
export function statementsUnderWay(): number {
  return underWay
}

type AnyMethod = (this: pg.Client, ...args: unknown[]) => unknown

/** Counts calls of a method of all connections until they return, or call back. */
function count(name: 'connect' | 'query'): void {
  const prototype = pg.Client.prototype as unknown as Record<typeof name, AnyMethod>
  const original = prototype[name]
  prototype[name] = function counted(...args) {
    underWay++
    let isOver = false
    const end = (): void => {
      if (!isOver) underWay--
      isOver = true
    }
    const last = args.at(-1)
    if (typeof last === 'function') {
      const callback = (...results: unknown[]): void => {
        end()
        last(...results)
      }
      return original.call(this, ...args.slice(0, -1), callback)
    }
    const result = original.call(this, ...args)
    if (result instanceof Promise) result.then(end, end)
    else end()
    return result
  }
}

let server: URL | undefined

/** From now on the tests of this process use databases of this server. */
export async function usePostgres(url: string): Promise<void> {
  server = new URL(url)
  await (await openPostgres(target(await create(template)))).close()
  count('connect')
  count('query')
}

const existing = new Set<string>()
/** Databases of tests that have ended. To empty one takes less than to create another. */
const free: string[] = []
let databases = 0

/** Opens an empty database, or that of a folder again. */
export async function openOnPostgres(folder: string | undefined, notices: Partial<Notices>): Promise<Database> {
  opened++
  if (folder !== undefined) {
    const name = `of_${createHash('md5').update(folder).digest('hex')}`
    return openPostgres(target(existing.has(name) ? name : await create(name, `TEMPLATE ${template}`)), notices)
  }
  const used = free.pop()
  if (used !== undefined) await asAdministrator(used, empty)
  const name = used ?? (await create(`own_${databases++}`, `TEMPLATE ${template}`))
  const db = await openPostgres(target(name), notices)
  const close = db.close.bind(db)
  db.close = async () => {
    await close()
    free.push(name)
  }
  return db
}

/** Deletes all rows of tables that have any, and lets numbers begin with 1 again. */
const empty = `DO $$ DECLARE name text; found boolean; BEGIN
  SET LOCAL session_replication_role = replica;
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'trellis_version' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO found;
    IF found THEN EXECUTE format('DELETE FROM %I', name); END IF;
  END LOOP;
  PERFORM setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences WHERE last_value IS NOT NULL;
END $$`

async function create(name: string, how = ''): Promise<string> {
  await asAdministrator('postgres', `CREATE DATABASE ${name} ${how}`)
  existing.add(name)
  return name
}

const administrators = new Map<string, pg.Client>()

/** Over a connection that is kept, because each new one is a process of the server. */
async function asAdministrator(database: string, statement: string): Promise<void> {
  const known = administrators.get(database)
  if (known) return void (await known.query(statement))
  const url = new URL(String(server))
  url.pathname = database
  const client = new pg.Client({ connectionString: String(url) })
  // It ends with its server.
  client.on('error', () => {})
  await client.connect()
  await client.query(statement)
  if (database.startsWith('own_')) administrators.set(database, client)
  else await client.end()
}

function target(database: string) {
  const url = new URL(String(server))
  url.pathname = database
  return parsePostgresUrl(String(url), {})
}
