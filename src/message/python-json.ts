/** A number by its text in Python. */
export class PythonNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Writable = string | number | boolean | null | PythonNumber | readonly unknown[] | ReadonlyMap<string, unknown>

/** JSON as Python's `json.dumps` writes it: `", "` and `": "`, everything beyond ASCII escaped. Keys keep their order. */
export function pythonJson(value: Writable): string {
  if (value instanceof PythonNumber) return value.text
  if (typeof value === 'boolean' || value === null) return String(value)
  if (typeof value === 'string') return escapeAscii(JSON.stringify(value))
  if (typeof value === 'number') return String(value)
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${pythonJson(key)}: ${pythonJson(item as Writable)}`).join(', ')}}`
  }
  return `[${(value as readonly Writable[]).map((item) => pythonJson(item)).join(', ')}]`
}

function escapeAscii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
