import { limits } from './limits.ts'

/** What a SuperNode says of itself, e.g. `region: eu`, so that apps can choose among nodes. */
export type NodeTags = Readonly<Record<string, string>>

/** Tags of a node: those that it gives itself, and those that its certificate vouches for, which win. */
export interface TagsBySource {
  readonly own: NodeTags
  readonly certificate: NodeTags
}

export const noTags: TagsBySource = { own: {}, certificate: {} }

const keyForm = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
/** Characters that do not show, or that change the direction of writing. */
const hidden = /[\p{C}\p{Zl}\p{Zp}]/u

/** Reads `key=value`. Returns `undefined` for anything else. */
export function parseTag(text: string): readonly [key: string, value: string] | undefined {
  const at = text.indexOf('=')
  const tag = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)] as const
  return isTag(...tag) ? tag : undefined
}

/** Whether these are tags that may be kept: few, short, and with names of letters, digits, dots, dashes and underscores. */
export function areTags(tags: NodeTags): boolean {
  const entries = Object.entries(tags)
  return entries.length <= limits.nodeTagsMax && entries.every(([key, value]) => isTag(key, value))
}

/** All tags of a node; those of the certificate win. */
export function mergedTags({ own, certificate }: TagsBySource): NodeTags {
  return { ...own, ...certificate }
}

function isTag(key: string, value: string): boolean {
  const { nodeTagKeyCharactersMax, nodeTagValueCharactersMax } = limits
  const fits = key.length <= nodeTagKeyCharactersMax && value.length <= nodeTagValueCharactersMax
  return fits && value !== '' && keyForm.test(key) && key !== '__proto__' && !hidden.test(value)
}
