import { limits } from '../base/limits.ts'

/**
 * The rules for the names of an app. They become names of folders and files, lines of logs and cells of tables, so they
 * are checked wherever a bundle is built or opened. New apps follow Flower's rule for names; a bundle that exists may have
 * underscores and dots, which earlier releases accepted.
 */

/** Letters, digits, hyphens; a letter first. What Flower's builder demands of `[project].name`. */
const newName = /^\p{L}[\p{L}\p{N}-]{0,31}$/u
const openedName = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}_.-]*$/u
/** People and organisations have spaces, apostrophes and the like in their names. */
const publisher = /^[\p{L}\p{N}_@]([\p{L}\p{M}\p{N} _.@&'’+()-]*[\p{L}\p{M}\p{N}_)])?$/u
/** Versions of PEP 440, and those of other schemes. */
const version = /^[\p{L}\p{N}][\p{L}\p{N}._+!-]*$/u

export interface FabNames {
  readonly name: string
  readonly version: string
  readonly publisher: string
}

/** Returns what is wrong with the names of an existing bundle, as sentences. */
export function findNameFaults(names: FabNames): string[] {
  const rules: readonly [string, string, RegExp, string][] = [
    ['name', names.name, openedName, 'letters, digits, hyphens, underscores and dots'],
    ['version', names.version, version, 'letters, digits, dots, hyphens and plus signs'],
    ['publisher', names.publisher, publisher, "letters, digits, spaces and the characters _.@&'+()-"],
  ]
  return rules.flatMap(([key, text, rule, allowed]) => {
    if (text.length > limits.fabNameCharactersMax)
      return [`Property "${key}" is longer than ${limits.fabNameCharactersMax} characters.`]
    return rule.test(text) && !text.includes('..') ? [] : [`Property "${key}" may hold ${allowed} only.`]
  })
}

export function isNewName(name: string): boolean {
  return newName.test(name)
}
