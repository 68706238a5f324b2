// Loaded into every program of a traced deployment (NODE_OPTIONS=--import): appends the start and the end of each call over
// HTTP/2 or HTTP to a file of its own in TRELLIS_BENCH_TRACE, as lines of JSON. Times are in ms since the epoch.

// An import would load more of Node than the programs do.
const { subscribe } = process.getBuiltinModule('node:diagnostics_channel')
const { appendFileSync } = process.getBuiltinModule('node:fs')
const { basename, join } = process.getBuiltinModule('node:path')
const { isMainThread } = process.getBuiltinModule('node:worker_threads')

const folder = process.env.TRELLIS_BENCH_TRACE
const writtenEveryMs = 100

if (folder && isMainThread) {
  const file = join(folder, `${process.pid}.jsonl`)
  const now = () => performance.timeOrigin + performance.now()
  let lines = []
  const write = () => {
    if (lines.length > 0) appendFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    lines = []
  }
  const note = (line) => void lines.push(line)
  setInterval(write, writtenEveryMs).unref()
  process.on('exit', write)
  note({
    kind: 'program',
    name: process.argv
      .slice(1, 4)
      .map((part) => basename(part))
      .join(' '),
    at: performance.timeOrigin,
  })
  /** For apps: what happens within them. */
  globalThis.trellisBenchMark = (name) => note({ kind: 'mark', name, at: now() })
  const requests = new WeakMap()
  subscribe('http.client.request.start', ({ request }) => requests.set(request, now()))
  subscribe('http.client.response.finish', ({ request }) => {
    const at = requests.get(request)
    if (at) note({ kind: 'client', name: request.path, at, endAt: now() })
  })
  for (const side of ['client', 'server']) {
    const started = new WeakMap()
    subscribe(`http2.${side}.stream.start`, ({ stream, headers }) => {
      started.set(stream, { path: headers[':path'], at: now() })
    })
    subscribe(`http2.${side}.stream.close`, ({ stream }) => {
      const call = started.get(stream)
      if (call) note({ kind: side, name: call.path, at: call.at, endAt: now() })
    })
  }
}
