import assert from 'node:assert/strict'
import { get } from 'node:http'
import { test } from 'node:test'
import { startPageServer } from '../../src/cli/dashboard/page-server.ts'

/** Requests as a browser, another website or another program on this machine would send them. */

async function startServer() {
  const stop = new AbortController()
  const stack = new AsyncDisposableStack()
  stack.defer(() => stop.abort())
  /** Actions that were done. */
  const done: string[] = []
  const server = stack.use(
    await startPageServer({
      files: { '/': { type: 'text/html', body: 'the page' } },
      findStream: (path) => (path === '/api/fleet' ? sendOnce : undefined),
      findAction: (path) =>
        path === '/api/runs/7/stop'
          ? async () => {
              done.push(path)
              return 'Stopped.'
            }
          : undefined,
      signal: stop.signal,
    }),
  )
  const { address } = server
  return { done, address, origin: new URL(address).origin, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function sendOnce(send: (name: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
  send('fleet', { nodes: 1 })
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

async function open(address: string): Promise<string> {
  const response = await fetch(address, { redirect: 'manual' })
  assert.equal(response.status, 303)
  return response.headers.get('set-cookie') ?? ''
}

test('the address of the dashboard opens it once, and only a browser with its cookie sees anything', async () => {
  await using server = await startServer()
  const { address, origin } = server
  assert.match(address, /^http:\/\/127\.0\.0\.1:\d+\/\?key=[\w-]{43}$/)
  const status = async (path: string, headers: Record<string, string> = {}): Promise<number> =>
    (await fetch(`${origin}${path}`, { headers })).status
  assert.equal(await status('/'), 403)
  assert.equal(await status('/?key=wrong'), 403)
  const cookie = await open(address)
  assert.match(cookie, /^trellis-dashboard=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/$/)
  assert.doesNotMatch(cookie, new RegExp(new URL(address).searchParams.get('key') as string))
  assert.equal(await status(address.slice(origin.length)), 403)
  assert.equal(await status('/', { cookie: cookie.split(';')[0] as string }), 200)
  assert.equal(await status('/', { cookie: 'trellis-dashboard=guess' }), 403)
})

test('a website that gives this machine a name of its own, or writes, is refused', async () => {
  await using server = await startServer()
  const { address, origin, done } = server
  const cookie = (await open(address)).split(';')[0] as string
  const { port } = new URL(origin)
  const asked = await new Promise<number | undefined>((resolve, reject) =>
    get({ port, host: '127.0.0.1', path: '/', headers: { cookie, host: `evil.example:${port}` } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).on('error', reject),
  )
  assert.equal(asked, 421)
  const act = async (headers: Record<string, string>, path = '/api/runs/7/stop'): Promise<number> =>
    (await fetch(`${origin}${path}`, { method: 'POST', headers })).status
  const json = { 'content-type': 'application/json' }
  assert.equal(await act(json), 403)
  // What a form of another site could send, and a script of one that runs before cookies are checked.
  assert.equal(await act({ cookie, 'content-type': 'text/plain' }), 403)
  assert.equal(await act({ cookie, ...json, 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await act({ cookie, ...json }, '/api/runs/7/unknown'), 404)
  assert.deepEqual(done, [])
  assert.equal(await act({ cookie, ...json }), 200)
  assert.deepEqual(done, ['/api/runs/7/stop'])
  assert.equal((await fetch(origin, { method: 'PUT', headers: { cookie } })).status, 405)
  const foreign = { cookie, 'sec-fetch-site': 'cross-site' }
  assert.equal((await fetch(`${origin}/api/fleet`, { headers: foreign })).status, 404)
})

test('the page may load nothing from elsewhere, and no site may frame it', async () => {
  await using server = await startServer()
  const { address, origin } = server
  const cookie = (await open(address)).split(';')[0] as string
  const { headers } = await fetch(origin, { headers: { cookie } })
  const policy = headers.get('content-security-policy') ?? ''
  assert.match(policy, /default-src 'none'/)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.doesNotMatch(policy, /unsafe|https?:|\*/)
  assert.equal(headers.get('cache-control'), 'no-store')
})

test('streams are bounded, and one that is closed makes room for another', async () => {
  await using server = await startServer()
  const { address, origin } = server
  const cookie = (await open(address)).split(';')[0] as string
  const follow = (signal?: AbortSignal) =>
    fetch(`${origin}/api/fleet`, { headers: { cookie }, ...(signal ? { signal } : {}) })
  const first = new AbortController()
  const streams = [await follow(first.signal), ...(await Promise.all(Array.from({ length: 23 }, () => follow())))]
  assert.deepEqual([...new Set(streams.map(({ status }) => status))], [200])
  assert.equal((await follow()).status, 503)
  first.abort()
  let status = 503
  for (let turn = 0; turn < 1000 && status === 503; turn++) ({ status } = await follow())
  assert.equal(status, 200)
})
