import { pythonString } from '../../message/python-text.ts'
import type { MetricRecord } from '../../message/records.ts'

/** Lays metrics out over lines as Python's `pprint` does with an indent of 2, for the summary at the end of a run. */

type Tree = string | readonly (readonly [key: string, value: Tree])[]

const lineWidth = 80
const indentWidth = 2

/** Rounds and their metrics, by name; floats have four digits. */
export function prettyRounds(rounds: ReadonlyMap<number, MetricRecord>): string {
  const tree = [...rounds]
    .toSorted(([a], [b]) => a - b)
    .map(([round, metrics]) => [String(round), metricsTree(metrics)] as const)
  return laidOut(tree, 0, 0)
}

function metricsTree(metrics: MetricRecord): Tree {
  const keys = [...metrics.keys()].toSorted()
  return keys.map((key) => [pythonString(key), metricText(metrics, key)] as const)
}

function metricText(metrics: MetricRecord, key: string): string {
  const isFloat = metrics.isFloat(key)
  const short = (value: number | bigint): string => (isFloat ? exponentText(Number(value)) : String(value))
  const value = metrics.get(key) ?? []
  return Array.isArray(value) ? `[${value.map((item) => `'${short(item)}'`).join(', ')}]` : short(value)
}

/** As Python's `%.4e`: the exponent has two digits or more. */
function exponentText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  return value.toExponential(4).replace(/e([+-])(\d)$/, 'e$10$2')
}

/** `indent` columns are taken on the first line, `reserved` are needed for what follows on the last. */
function laidOut(tree: Tree, indent: number, reserved: number): string {
  const line = onOneLine(tree)
  if (width(line) <= lineWidth - indent - reserved) return line
  if (typeof tree === 'string') return wrapped(tree, indent, reserved)
  const inner = indent + indentWidth
  const items = tree.map(([key, value], index) => {
    const isLast = index === tree.length - 1
    return `${key}: ${laidOut(value, inner + width(key) + 2, isLast ? reserved + 1 : 1)}`
  })
  return `{ ${items.join(`,\n${' '.repeat(inner)}`)}}`
}

function onOneLine(tree: Tree): string {
  if (typeof tree === 'string') return pythonString(tree)
  return `{${tree.map(([key, value]) => `${key}: ${onOneLine(value)}`).join(', ')}}`
}

/** A string that is too long for a line becomes several literals, cut between words. */
function wrapped(text: string, indent: number, reserved: number): string {
  const words = text.match(/\S*\s*/g)?.filter(Boolean) ?? []
  const lines: string[] = []
  let current = ''
  for (const [index, word] of words.entries()) {
    const room = lineWidth - indent - (index === words.length - 1 ? reserved : 0)
    if (current && width(pythonString(current + word)) > room) {
      lines.push(current)
      current = word
    } else current += word
  }
  return [...lines, current].map(pythonString).join(`\n${' '.repeat(indent)}`)
}

function width(text: string): number {
  return [...text].length
}
