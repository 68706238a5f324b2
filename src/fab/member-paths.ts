import { limits } from '../base/limits.ts'

/** Judges the paths inside a bundle, when it is built and when it is opened. */

/** Returns what is wrong with the path of a member, or `undefined`. */
export function memberPathFault(path: string): string | undefined {
  if (path.startsWith('/') || /^[a-zA-Z]:/.test(path) || path.includes('\\') || path.split('/').includes('..'))
    return 'points outside of the archive'
  if (/[\p{Cs}\ufffd]/u.test(path)) return 'is not UTF-8'
  if (unprintable.test(path)) return 'holds characters that cannot be printed'
  if (path.split('/').some((part) => part === '' || part === '.')) return 'has an empty part'
  if (Buffer.byteLength(path) > limits.fabPathBytesMax) return `is longer than ${limits.fabPathBytesMax} bytes`
  return undefined
}

const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/**
 * Returns the first two paths that cannot both exist in every file system: they are the same but for case or for how their
 * accents are encoded, or one is a folder of the other.
 */
export function findPathCollision(paths: Iterable<string>): readonly [string, string] | undefined {
  const known = new Map<string, string>()
  const folders = new Map<string, string>()
  for (const path of paths) {
    const key = folded(path)
    const other = known.get(key) ?? folders.get(key)
    if (other !== undefined) return [other, path]
    known.set(key, path)
    for (let end = key.indexOf('/'); end >= 0; end = key.indexOf('/', end + 1)) {
      const folder = key.slice(0, end)
      const file = known.get(folder)
      if (file !== undefined) return [file, path]
      if (!folders.has(folder)) folders.set(folder, path)
    }
  }
  return undefined
}

function folded(path: string): string {
  return path.normalize('NFC').toLowerCase()
}
