import { createServer, type IncomingMessage } from 'node:http'
import { Command } from 'commander'
import { errorText, UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import { answerOcsp } from '../../identity/pki-ocsp.ts'
import { serialKey } from '../../identity/revocation/crl.ts'
import { formatAddress, parseAddress } from '../../rpc/address.ts'
import type { CliContext } from '../command.ts'
import { runCommand } from '../output.ts'
import { readCa } from '../pki-files.ts'
import { readRegister } from '../pki-register.ts'

interface Options {
  readonly directory: string
  readonly ca: string
  readonly address: string
  readonly minutes: string
}

/** `flwr pki ocsp`: a responder for trying out `--ssl-client-ocsp`. */
export function ocspCommand(context: CliContext): Command {
  return new Command('ocsp')
    .description('run an OCSP responder for the certificates of the CA, until Ctrl-C')
    .option('--directory <path>', 'folder of the CA', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--address <address>', 'address to listen on', '127.0.0.1:8180')
    .option('--minutes <count>', 'validity of a response, in minutes', '5')
    .action(async (options: Options) => {
      context.status = await runCommand(context, 'default', async (output) => {
        const minutes = wholeNumber(options.minutes, '--minutes', { min: 1, max: 10_000 }) as number
        const { issued } = readCa(options.directory, options.ca)
        readRegister(options)
        const respond = (request: Uint8Array<ArrayBuffer>): Promise<Uint8Array> => {
          // Read for each request, so that new revocations count at once.
          const { revoked } = readRegister(options)
          const known = new Map(revoked.map((entry) => [serialKey(entry.serial), entry]))
          const now = new Date()
          return answerOcsp(request, {
            ca: issued,
            signer: issued,
            now,
            nextUpdate: new Date(now.getTime() + minutes * 60_000),
            revoked(serial) {
              const entry = known.get(serial)
              output.say(`${now.toISOString()} serial ${serial}: ${entry ? `revoked (${entry.name})` : 'good'}`)
              return entry && { at: new Date(entry.at), reason: entry.reason }
            },
          })
        }
        await serve(options.address, respond, context.signal, (address) =>
          output.say(`Answering for the CA in ${options.directory} at http://${address} until Ctrl-C`),
        )
        return 0
      })
    })
}

function serve(
  addressText: string,
  respond: (request: Uint8Array<ArrayBuffer>) => Promise<Uint8Array>,
  signal: AbortSignal,
  onListening: (address: string) => void,
): Promise<void> {
  const address = parseAddress(addressText, '--address')
  const server = createServer((request, response) => {
    readRequest(request)
      .then(respond)
      .then(
        (bytes) => response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(bytes),
        (error: unknown) => response.writeHead(400, { 'content-type': 'text/plain' }).end(`${errorText(error)}\n`),
      )
  })
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(new UsageError(`--address: cannot listen on ${addressText} (${cause.code}).`, { cause })),
    )
    server.listen(address, () => {
      const bound = server.address()
      onListening(formatAddress(typeof bound === 'object' && bound ? { ...address, port: bound.port } : address))
    })
    const stop = (): void => {
      server.close(() => resolve())
      server.closeAllConnections()
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** RFC 6960 appendix A: the body of a POST, or base64 at the end of the path of a GET. */
async function readRequest(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  if (request.method === 'GET') {
    const path = decodeURIComponent(request.url ?? '')
    return Uint8Array.from(Buffer.from(path.slice(path.indexOf('/') + 1), 'base64'))
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > requestBytesMax) throw new Error(`A request has at most ${requestBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Uint8Array.from(Buffer.concat(chunks))
}

const requestBytesMax = 64 * 1024
