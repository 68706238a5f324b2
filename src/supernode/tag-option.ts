import { UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type NodeTags, parseTag } from '../base/node-tags.ts'

/** Reads the values of `--tag`. Throws a UsageError for the first that is no tag. */
export function readTags(given: readonly string[]): NodeTags {
  const tags = new Map<string, string>()
  for (const text of given) {
    const tag = parseTag(text)
    if (!tag)
      throw new UsageError(
        `--tag '${text}' is not understood: give key=value with a key of letters, digits, dots, dashes and underscores (at most ${limits.nodeTagKeyCharactersMax}) and a value of 1 to ${limits.nodeTagValueCharactersMax} characters.`,
      )
    if (tags.has(tag[0])) throw new UsageError(`--tag ${tag[0]} is given twice: a tag has one value.`)
    tags.set(...tag)
  }
  if (tags.size > limits.nodeTagsMax)
    throw new UsageError(`${tags.size} tags are given: a SuperNode has at most ${limits.nodeTagsMax}.`)
  return Object.fromEntries(tags)
}
