import { pathToFileURL } from 'node:url'
import { errorText } from '../base/errors.ts'

/**
 * Returns what was thrown by an app, with the place in the app's own files: `ReferenceError: dat is not defined
 * (digits/client-app.ts:31:9)`. The first frame of the stack inside of one of the folders counts; npm packages of the app
 * count only if no other frame does.
 */
export function errorWithPlace(error: unknown, folders: Iterable<string>): string {
  const name = error instanceof Error ? `${error.name}: ` : ''
  return `${name}${textWithPlace(error, folders)}`
}

/** The same without the name of the kind of error. */
export function textWithPlace(error: unknown, folders: Iterable<string>): string {
  const place = placeOf(error, [...folders])
  return `${errorText(error)}${place === undefined ? '' : ` (${place})`}`
}

function placeOf(error: unknown, folders: readonly string[]): string | undefined {
  if (!(error instanceof Error)) return undefined
  const frames = (error.stack ?? '').split('\n').flatMap((line) => frameIn(line, folders) ?? [])
  return frames.find((frame) => !frame.startsWith('node_modules/')) ?? frames[0]
}

const frameForm = /(?:\(|at |async )(file:\/\/[^()\s]+?)(?:\?[^:()\s]*)?:(\d+):(\d+)\)?$/

function frameIn(line: string, folders: readonly string[]): string | undefined {
  const [, url = '', row, column] = frameForm.exec(line.trim()) ?? []
  const folder = folders.map((one) => pathToFileURL(`${one}/`).href).find((one) => url.startsWith(one))
  return folder === undefined ? undefined : `${url.slice(folder.length)}:${row}:${column}`
}
