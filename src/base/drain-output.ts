/**
 * Resolves when standard output and error have taken everything that was written to them. A pipe takes 64 KiB at a time, and
 * `process.exit` discards the rest. If the reader of a pipe is gone, there is nothing to wait for.
 */
export async function drainOutput(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map(drain))
}

function drain(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableLength === 0) return resolve()
    stream.once('error', () => resolve())
    stream.write('', () => resolve())
  })
}
