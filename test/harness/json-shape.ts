/**
 * The shape of a JSON document: its keys in their order, and the kind of each value, whole numbers apart from others.
 * `without` are keys to leave out. Documents of equal shape can be read by the same script.
 */
export function jsonShape(text: string, without: readonly string[] = []): unknown {
  // Whether a number is whole shows in its text only.
  const marked = text.replaceAll(/(?<=[[:,]\s*)-?\d+(\.\d+)?(e[+-]?\d+)?(?=\s*[,\]}])/g, (number) =>
    /[.e]/.test(number) ? '"<float>"' : '"<int>"',
  )
  return shapeOf(JSON.parse(marked), without)
}

/** Keys of our documents that those of Flower 1.29 do not have, by the words of the command. */
export function addedKeys(command: string): string[] {
  const newer = ['federation-id', 'status-details']
  if (command.startsWith('federation')) return ['id', ...newer]
  const certificate = [
    ...['identity', 'organization', 'auth-method', 'certificate-serial', 'certificate-expires-at'],
    ...['certificate-days-left', 'certificate-renewal'],
  ]
  if (command.startsWith('supernode ls')) return ['name', 'location', 'tags', 'admission', ...certificate]
  if (!/^ls\b/.test(command)) return newer
  return [...newer, 'config', ...(command.includes('--run-id') ? ['nodes'] : [])]
}

function shapeOf(value: unknown, without: readonly string[]): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0], without)]
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([key]) => !without.includes(key))
    return entries.map(([key, item]) => [key, shapeOf(item, without)])
  }
  if (value === '<float>' || value === '<int>') return value
  return value === null ? null : typeof value
}
