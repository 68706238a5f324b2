import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'

/**
 * Returns what an app has thrown, with its causes, as `inspect` shows it. Frames of Trellis and Node are left out, and files
 * of the app are named without the folder into which it was unpacked. If the app has no frame, all frames are kept.
 */
export function appStack(error: unknown, folders: Iterable<string>, ownCode = ownFolder): string {
  const lines = inspect(error).split('\n')
  const kept: string[] = []
  for (const line of lines) {
    if (!isFrame(line) || !isForeign(line, ownCode)) kept.push(line)
    // The last frame of an error with properties opens them.
    else if (line.endsWith(' {')) kept.push(`${kept.pop() ?? ''} {`)
  }
  const shown = kept.some(isFrame) ? kept : lines
  const prefixes = [...folders].map((folder) => pathToFileURL(`${folder}/`).href)
  return shown
    .map((line) => (isFrame(line) ? prefixes.reduce((text, prefix) => text.replace(prefix, ''), line) : line))
    .join('\n')
}

const ownFolder = new URL('../', import.meta.url).href

function isFrame(line: string): boolean {
  return /^\s+at \S/.test(line)
}

function isForeign(frame: string, ownCode: string): boolean {
  return frame.includes(ownCode) || /[ (]node:/.test(frame)
}
