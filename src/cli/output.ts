import { stripVTControlCharacters, styleText } from 'node:util'
import { errorText, UsageError } from '../base/errors.ts'
import { explainRpcError } from './connect.ts'

export type Format = 'default' | 'json'

/** A value of a JSON document. 64-bit integers are bigints and stay exact. */
export type Json =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined }

/** Where a command writes. With `--format json` its words are kept back, and one document comes out. */
export interface Output {
  readonly format: Format
  /** For people; on standard output. */
  say(text: string): void
  /** For people; on standard error. */
  note(text: string): void
}

/**
 * Runs a command. Its answer is the JSON document of success and, optionally, the exit status. With `--format json` errors are a document
 * too, with status 0, as scripts for Flower expect.
 */
export async function runCommand(
  formatText: string | undefined,
  body: (output: Output) => Promise<{ json?: Json; status?: number } | undefined>,
): Promise<number> {
  const format = readFormat(formatText)
  const kept: string[] = []
  const output: Output =
    format === 'json'
      ? { format, say: (text) => kept.push(text), note: (text) => kept.push(text) }
      : { format, say: (text) => writeLine(process.stdout, text), note: (text) => writeLine(process.stderr, text) }
  try {
    const result = await body(output)
    if (format === 'json' && result?.json !== undefined) writeLine(process.stdout, toJson(result.json))
    return format === 'json' ? 0 : (result?.status ?? 0)
  } catch (thrown) {
    const error = explainRpcError(thrown)
    if (!(error instanceof UsageError)) throw error
    if (format !== 'json') {
      writeLine(process.stderr, paint('red', `Error: ${error.message}`, process.stderr))
      return error.exitStatus
    }
    const text = stripVTControlCharacters([...kept, errorText(error)].join('\n'))
    writeLine(process.stdout, toJson({ success: false, 'error-message': text }))
    return 0
  }
}

function readFormat(text = 'default'): Format {
  const format = text.toLowerCase()
  if (format === 'default' || format === 'json') return format
  throw new UsageError(`--format must be default or json, not '${text}'.`, { exitStatus: 2 })
}

export function toJson(value: Json): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => (typeof item === 'bigint' ? (JSON as RawJson).rawJSON(String(item)) : item),
    2,
  )
}

/** Newer than TypeScript's description of JSON. */
type RawJson = typeof JSON & { rawJSON(text: string): unknown }

/** Colour only on a terminal that wants it. */
export function paint(
  style: Parameters<typeof styleText>[0],
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  return styleText(style, text, { stream, validateStream: true })
}

function writeLine(stream: NodeJS.WriteStream, text: string): void {
  stream.write(`${text}\n`)
}
