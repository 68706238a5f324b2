import { pythonFloat } from '../base/python-float.ts'
import { PythonNumber } from './python-json.ts'

/**
 * JSON as Python reads and writes it: objects keep the order of their keys, and a number keeps the text that Python gives
 * it (`1.0` stays a float, a whole number keeps all its digits). Reading and writing therefore gives the bytes that
 * `json.dumps(json.loads(text))` gives.
 */
export type PythonValue = string | boolean | null | PythonNumber | PythonValue[] | PythonObject
export type PythonObject = Map<string, PythonValue>

/** How deep objects and lists may be nested. */
const nestingMax = 500

/** Throws a SyntaxError for what is no JSON. */
export function readPythonJson(text: string): PythonValue {
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.end()
  return value
}

const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const space = /[ \t\n\r]*/y
const string = /"(?:[^"\\]|\\.)*"/sy
const word = /true|false|null|NaN|-?Infinity/y
const words: Readonly<Record<string, boolean | null | PythonNumber>> = {
  true: true,
  false: false,
  null: null,
  NaN: new PythonNumber('NaN'),
  Infinity: new PythonNumber('Infinity'),
  '-Infinity': new PythonNumber('-Infinity'),
}

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  value(depth: number): PythonValue {
    if (depth > nestingMax) throw new SyntaxError(`The JSON is nested deeper than ${nestingMax} levels.`)
    this.#take(space)
    const start = this.#text[this.#at]
    if (start === '{') return this.#object(depth)
    if (start === '[') return this.#list(depth)
    if (start === '"') return this.#string()
    const name = this.#take(word)
    if (name) return words[name[0]] as boolean | null | PythonNumber
    const found = this.#take(number)
    if (!found) throw this.#unexpected()
    const isWhole = found[1] === undefined && found[2] === undefined
    return new PythonNumber(isWhole ? wholeText(found[0]) : floatText(Number(found[0])))
  }

  end(): void {
    this.#take(space)
    if (this.#at < this.#text.length) throw this.#unexpected()
  }

  #object(depth: number): PythonObject {
    const object: PythonObject = new Map()
    this.#at += 1
    if (this.#next('}')) return object
    do {
      this.#take(space)
      const key = this.#string()
      if (!this.#next(':')) throw this.#unexpected()
      object.set(key, this.value(depth + 1))
    } while (this.#next(','))
    if (!this.#next('}')) throw this.#unexpected()
    return object
  }

  #list(depth: number): PythonValue[] {
    const list: PythonValue[] = []
    this.#at += 1
    if (this.#next(']')) return list
    do list.push(this.value(depth + 1))
    while (this.#next(','))
    if (!this.#next(']')) throw this.#unexpected()
    return list
  }

  #string(): string {
    const found = this.#take(string)
    if (!found) throw this.#unexpected()
    return JSON.parse(found[0]) as string
  }

  #next(character: string): boolean {
    this.#take(space)
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found) this.#at += found[0].length
    return found
  }

  #unexpected(): SyntaxError {
    return new SyntaxError(`The JSON breaks off or is wrong at character ${this.#at}.`)
  }
}

function wholeText(text: string): string {
  return text === '-0' ? '0' : text
}

function floatText(value: number): string {
  if (Number.isFinite(value)) return pythonFloat(value)
  return value > 0 ? 'Infinity' : '-Infinity'
}
