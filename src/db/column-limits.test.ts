import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { columnLimits, fitting } from './column-limits.ts'
import { migrations } from './migrations.ts'
import type { Tables } from './schema.ts'

/** The columns of a new database that hold text or bytes, as `table.column`. */
function textColumns(): string[] {
  using db = new DatabaseSync(':memory:')
  for (const migration of migrations) db.exec(migration)
  const rows = db
    .prepare(
      `SELECT tables.name || '.' || columns.name AS name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
       WHERE tables.type = 'table' AND columns.type IN ('TEXT', 'BLOB') AND tables.name NOT LIKE 'sqlite_%'`,
    )
    .all()
  return rows.map(({ name }) => String(name)).sort()
}

test('every column that holds text or bytes has a named limit', () => {
  const columns = textColumns()
  assert.ok(columns.length > 30, 'the columns were not found')
  const limited = Object.entries(columnLimits).flatMap(([table, row]) =>
    Object.keys(row).map((name) => `${table}.${name}`),
  )
  assert.deepEqual(limited.sort(), columns)
})

test('no column holds more than its limit', () => {
  for (const [table, row] of Object.entries(columnLimits)) {
    for (const [column, name] of Object.entries(row)) {
      const most = limits[name as 'wordBytesMax']
      const fits = { [column]: new Uint8Array(most) } as never
      assert.equal(fitting(table as keyof Tables, fits), fits)
      for (const value of [new Uint8Array(most + 1), 'é'.repeat(most / 2 + 1)]) {
        // Strings of 64 MiB take a while to measure, and are measured like all others.
        if (typeof value === 'string' && most > 1024 * 1024) continue
        assert.throws(
          () => fitting(table as keyof Tables, { [column]: value } as never),
          (error) => error instanceof DomainError && error.message.includes(`${most} of ${table}.${column}`),
        )
      }
    }
  }
})

test('every statement that stores a row goes through the limits', () => {
  const root = join(import.meta.dirname, '..')
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => /(?<!\.test)\.ts$/.test(path))
  const statements = paths.flatMap((path) => {
    const text = readFileSync(join(root, path), 'utf8')
    const found = [...text.matchAll(/(?:insertInto|updateTable)\('(\w+)'\)[\s\S]*?\.(?:values|set)\(([\s\S]{0,120})/g)]
    return found.map(([, table = '', values = '']) => ({
      where: `${path}: ${table}`,
      table,
      values: values.split('.where(')[0] as string,
    }))
  })
  assert.ok(statements.length > 15, 'no statements were found')
  const unlimited = statements.filter(({ table, values }) => {
    const columns = Object.keys(columnLimits[table as keyof typeof columnLimits]).join('|')
    const isSpelledOut = /^\s*(\(eb\) => \()?(\{|\(\{)/.test(values)
    const hasText = columns !== '' && (!isSpelledOut || new RegExp(`\\b(${columns})\\b`).test(values))
    return !values.includes('fitting(') && hasText
  })
  assert.deepEqual(
    unlimited.map(({ where }) => where),
    [],
  )
})
