/** What a process said last, for the report of its end: the error that ended it, where there is one. */
export function keepLastLine(stream: NodeJS.ReadableStream): () => string {
  let tail = ''
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => {
    tail = `${tail}${chunk.toString()}`.slice(-lastWordsMax)
  })
  return () => {
    const lines = tail.trim().split('\n')
    const line = lines.findLast((one) => /^\S*Error\b/.test(one)) ?? lines.at(-1) ?? ''
    return line === '' ? '' : `: ${line}`
  }
}

const lastWordsMax = 2000
