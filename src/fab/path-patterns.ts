/**
 * The patterns by which the files of an app are chosen, with the meaning that Flower's builder gives them. It differs from
 * Git's: the last pattern that matches a path decides, so `!data/keep.json` brings back a file of an excluded folder.
 */

/** A pattern that has no meaning. The message quotes it. */
export class PatternError extends Error {
  override readonly name = 'PatternError'
}

/** Returns a function that tells whether the patterns choose a path. Throws a PatternError. */
export function compilePatterns(patterns: readonly string[]): (path: string) => boolean {
  const rules = patterns.flatMap((pattern) => compile(pattern) ?? [])
  return (path) => rules.findLast(({ matches }) => matches.test(path))?.includes ?? false
}

interface Rule {
  readonly matches: RegExp
  readonly includes: boolean
}

/** Returns nothing for a blank line, a comment, and `/`. */
function compile(source: string): Rule | undefined {
  // A trailing space that is escaped belongs to the pattern.
  const text = source.endsWith('\\ ') ? stripLeft(source) : stripPython(source)
  if (text === '' || text === '/' || text.startsWith('#')) return undefined
  const includes = !text.startsWith('!')
  const segments = collapsed(includes ? text : text.slice(1))
  // Every path but those of files beside pyproject.toml.
  const isAnyFolder = segments.join('/') === '**/'
  anchor(segments)
  if (segments.length === 0) throw new PatternError(`'${source}' is no pattern`)
  try {
    return { matches: new RegExp(`^${isAnyFolder ? `${any}+/${any}*` : translate(segments)}$`, 'u'), includes }
  } catch (cause) {
    throw new PatternError(`'${source}' is no pattern`, { cause })
  }
}

function collapsed(pattern: string): string[] {
  return pattern.split('/').filter((segment, index, all) => segment !== '**' || all[index - 1] !== '**')
}

/** A pattern with a slash begins at the folder of the app, any other at any depth, for which `**` stands in front. */
function anchor(segments: string[]): void {
  const [first, second] = segments
  if (first === '') segments.shift()
  else if (first !== '**' && (segments.length === 1 || (segments.length === 2 && second === ''))) segments.unshift('**')
}

const any = '[^\\n]'

function translate(segments: readonly string[]): string {
  const last = segments.length - 1
  const isFolder = segments[last] === '' && last > 0
  let text = ''
  let needsSlash = false
  for (const [index, segment] of segments.entries()) {
    const isLast = index === last
    if (segment === '**' || (isFolder && isLast)) {
      if (isLast) text += last === 0 ? `[^/]+(?:/${any}*)?` : `/${any}*`
      else text += index === 0 ? `(?:${any}+/)?` : `(?:/${any}+)?`
      needsSlash = index > 0
      continue
    }
    text += `${needsSlash ? '/' : ''}${segment === '*' ? '[^/]+' : translateSegment(segment)}`
    // What matches a folder matches all that is in it.
    if (isLast) text += `(?:/${any}*)?`
    needsSlash = true
  }
  return text
}

/** Throws if the segment ends in a lone backslash or holds a range of characters that is upside down. */
function translateSegment(segment: string): string {
  const chars = [...segment]
  let text = ''
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] as string
    if (char === '*') text += '[^/]*'
    else if (char === '?') text += '[^/]'
    else if (char === '\\') {
      const next = chars[++at]
      if (next === undefined) throw new Error('a backslash at the end')
      text += literal(next)
    } else if (char === '[') {
      const end = endOfSet(chars, at)
      text += end === undefined ? '\\[' : translateSet(chars.slice(at + 1, end))
      at = end ?? at
    } else text += literal(char)
  }
  return text
}

/** The index of the bracket that closes the set; one right at the beginning of the set is a member of it. */
function endOfSet(chars: readonly string[], start: number): number | undefined {
  let at = start + 1
  if (chars[at] === '!' || chars[at] === '^') at++
  if (chars[at] === ']') at++
  const end = chars.indexOf(']', at)
  return end < 0 ? undefined : end
}

function translateSet(members: readonly string[]): string {
  const isNegated = members[0] === '!' || members[0] === '^'
  const rest = isNegated ? members.slice(1) : members
  let text = ''
  for (let at = 0; at < rest.length; at++) {
    const from = rest[at] as string
    const to = rest[at + 2]
    if (rest[at + 1] === '-' && to !== undefined) {
      text += `${literal(from)}-${literal(to)}`
      at += 2
    } else text += literal(from)
  }
  return `[${isNegated ? '^' : ''}${text}]`
}

function literal(char: string): string {
  return `\\u{${(char.codePointAt(0) as number).toString(16)}}`
}

/** What Python takes for line ends and for white space: more than JavaScript does, but not a byte order mark. */
const lineEnds = String.fromCharCode(0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029)
const otherSpaces = `${String.fromCharCode(0x09, 0x1f)}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000 `
const lineEnd = new RegExp(`[${lineEnds}]`)
const space = new RegExp(`^[${lineEnds}${otherSpaces}]$`)

export function stripPython(text: string): string {
  let end = text.length
  while (end > 0 && space.test(text[end - 1] as string)) end--
  return stripLeft(text.slice(0, end))
}

function stripLeft(text: string): string {
  let start = 0
  while (start < text.length && space.test(text[start] as string)) start++
  return text.slice(start)
}

export function splitLinesPython(text: string): string[] {
  return text.replaceAll('\r\n', '\n').split(lineEnd)
}
