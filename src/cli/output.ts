import { stripVTControlCharacters, styleText } from 'node:util'
import { systemClock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import { printableJson, printableLines } from '../base/printable.ts'
import { pythonFloat } from '../base/python-float.ts'
import type { CliContext } from './command.ts'
import { explainRpcError } from './rpc-sentences.ts'

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
  /** The document of success, for `--format json`. It comes out at once, though the command may go on. */
  answer(json: Json): void
}

/** The status that a shell reports for a program that Ctrl-C ended. */
const interruptedStatus = 130
/** How long an interrupted command may take to put things in order. */
const graceMs = 500

/**
 * Runs a command and returns its exit status, which `--format json` does not change. With it an error is a document too;
 * if the document of success is already out, the error goes to standard error.
 */
export async function runCommand(
  context: CliContext,
  formatText: string | undefined,
  body: (output: Output) => Promise<number | undefined>,
): Promise<number> {
  const format = readFormat(formatText)
  const kept: string[] = []
  let answered = false
  const output: Output =
    format === 'json'
      ? {
          format,
          say: (text) => kept.push(text),
          note: (text) => kept.push(text),
          answer(json) {
            answered = true
            writeLine(process.stdout, toJson(json))
          },
        }
      : {
          format,
          say: (text) => writeLine(process.stdout, text),
          note: (text) => writeLine(process.stderr, text),
          answer: () => {},
        }
  try {
    return (await Promise.race([body(output), interruption(context.signal)])) ?? 0
  } catch (thrown) {
    const error = explainRpcError(thrown)
    if (context.signal.aborted && !(thrown instanceof UsageError)) return interruptedStatus
    if (!(error instanceof UsageError)) throw error
    if (format !== 'json' || answered) {
      if (error.flowerCode !== undefined) writeLine(process.stderr, `Exit Code: ${error.flowerCode}`)
      writeError(error.message)
      return error.exitStatus
    }
    writeErrorDocument([...kept, errorText(error)])
    return error.exitStatus
  }
}

/** What `--format json` writes about an error. */
export function writeErrorDocument(lines: readonly string[]): void {
  const text = stripVTControlCharacters(lines.join('\n'))
  writeLine(process.stdout, toJson({ success: false, 'error-message': text }))
}

async function interruption(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  await systemClock.sleep(graceMs)
  throw signal.reason
}

/** Returns a signal that is aborted when the reader of our output is gone, as in `flwr log 1 | head`. */
export function abortWhenUnread(): AbortSignal {
  const unread = new AbortController()
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => unread.abort())
  return unread.signal
}

export function readFormat(text = 'default'): Format {
  const format = text.toLowerCase()
  if (format === 'default' || format === 'json') return format
  throw new UsageError(`--format must be default or json, not '${text}'.`, { exitStatus: 2 })
}

/** Unprintable characters are escaped, which JSON itself asks only of some. */
export function toJson(value: Json): string {
  const text = JSON.stringify(
    value,
    (_key, item: unknown) => (typeof item === 'bigint' ? (JSON as RawJson).rawJSON(String(item)) : item),
    2,
  )
  return text.split('\n').map(printableJson).join('\n')
}

/** A number that stays a floating-point one in the document, as Python writes it: `55.0`. What JSON has no word for is `null`. */
export function float(value: number): Json {
  return Number.isFinite(value) ? ((JSON as RawJson).rawJSON(pythonFloat(value)) as Json) : null
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

export function writeError(sentence: string): void {
  const lines = sentence.split('\n').map((line) => paint('red', line, process.stderr))
  writeLine(process.stderr, `${paint('red', 'Error: ', process.stderr)}${lines.join('\n')}`)
}

/**
 * The one place where text leaves a command. Values from elsewhere were made one line each before; here everything but
 * line ends and, on a terminal, colours disappears.
 */
export function writeLine(stream: NodeJS.WriteStream, text: string): void {
  stream.write(`${printableLines(text, { colors: showsColors(stream) })}\n`)
}

export function showsColors(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && stream.hasColors?.() !== false
}
