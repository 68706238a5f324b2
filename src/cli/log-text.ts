import { printableLines } from '../base/printable.ts'

/**
 * Makes the log of an app safe for a terminal or a file, part by part. An app's colours reach a terminal only, and end with
 * their line; other escape sequences reach nothing. A sequence or a line end that two parts share is kept back until it is
 * complete.
 */
export class LogText {
  readonly #colors: boolean
  #kept = ''

  constructor(options: { readonly colors: boolean }) {
    this.#colors = options.colors
  }

  add(part: string): string {
    const text = this.#kept + part
    this.#kept = unfinished.exec(text)?.[0] ?? ''
    return printableLines(text.slice(0, text.length - this.#kept.length), { colors: this.#colors })
  }

  /** What is left when no more parts come. */
  end(): string {
    const text = this.#kept
    this.#kept = ''
    return printableLines(text, { colors: this.#colors })
  }
}

/** A carriage return, half of a character, or the beginning of an escape sequence, at the end of a part. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this finds.
const unfinished = /(?:\r|[\ud800-\udbff]|\x1b(?:\[[0-?]{0,32}[ -/]{0,4}|[ -/]{0,4})?)$/
