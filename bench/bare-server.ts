import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'

/** A process with the least that a server with mutual TLS and HTTP/2 can be in Node: it responds to every heartbeat. */

export type BareCommand =
  | { readonly kind: 'open'; readonly ca: string; readonly cert: string; readonly key: string }
  | { readonly kind: 'look' }
export type BareReport = { readonly port: number } | { readonly cpuSeconds: number; readonly megabytes: number }

/** `success` of a heartbeat. */
const frame = Buffer.from([0, 0, 0, 0, 2, 8, 1])

process.on('disconnect', () => process.exit())
process.on('message', (command: BareCommand) => {
  if (command.kind === 'look') {
    const { user, system } = process.cpuUsage()
    const report: BareReport = { cpuSeconds: (user + system) / 1e6, megabytes: process.memoryUsage.rss() / 1e6 }
    process.send?.(report)
    return
  }
  const { ca, cert, key } = command
  const server = createSecureServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.resume()
    stream.end(frame)
  })
  server.on('sessionError', () => {})
  server.listen(0, '127.0.0.1', 4096, () => {
    const report: BareReport = { port: (server.address() as AddressInfo).port }
    process.send?.(report)
  })
})
