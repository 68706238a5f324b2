/** JSON as Python's `json.dumps` writes it: `", "` and `": "`, everything beyond ASCII escaped. Keys keep their order. */
export function pythonJson(value: string | number | readonly unknown[] | ReadonlyMap<string, unknown>): string {
  if (typeof value === 'string') return escapeAscii(JSON.stringify(value))
  if (typeof value === 'number') return String(value)
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${pythonJson(key)}: ${pythonJson(item)}`).join(', ')}}`
  }
  return `[${(value as readonly (string | number)[]).map((item) => pythonJson(item)).join(', ')}]`
}

function escapeAscii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
