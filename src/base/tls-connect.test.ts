import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { checkServerIdentity, connect, createServer, type PeerCertificate, type TLSSocket } from 'node:tls'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { connectTls, serverNameFault } from './tls-connect.ts'

type Request = NonNullable<Parameters<TestCa['issue']>[1]>
type Issued = Awaited<ReturnType<TestCa['issue']>>['issued']

const at = (hours: number): Date => new Date(Date.now() + hours * 3600_000)
const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
const ca = await TestCa.create(directory.path, 'ca')
const foreign = await TestCa.create(directory.path, 'other')
const namesake = await TestCa.create(directory.path, 'ca')
const server = async (request: Request, issuer = ca): Promise<Issued> =>
  (await issuer.issue('server', { usages: ['server'], ...request })).issued

const names: Readonly<Record<string, Request>> = {
  'a host name': { dns: ['localhost'] },
  'another host name': { dns: ['example.org'] },
  'a wildcard': { dns: ['*.example.org', '*.localhost'] },
  'an address': { ips: ['127.0.0.1'] },
  'another address': { ips: ['127.0.0.2'] },
  'an address of version 6': { ips: ['::1'] },
  'a common name': { commonName: 'localhost' },
  'a common name beside other names': { commonName: 'localhost', dns: ['example.org'] },
  'a common name that is an address': { commonName: '127.0.0.1' },
  'a common name with a line end': { commonName: 'x\nCN=localhost' },
  'a common name with an attribute': { commonName: 'localhost + O=x', organization: 'CN=localhost' },
}
const hosts = ['localhost', 'a.example.org', 'example.org', 'a.b.example.org', '127.0.0.1', '127.0.0.2', '::1']

test('names of servers are compared as Node compares them', async () => {
  let right = 0
  for (const [about, request] of Object.entries(names)) {
    const certificate = new X509Certificate((await server(request)).certificatePem)
    for (const host of hosts) {
      const legacy = certificate.toLegacyObject() as unknown as PeerCertificate
      const expected = checkServerIdentity(host, legacy)
      assert.equal(serverNameFault(host, certificate)?.name, expected?.name, `${about}, ${host}`)
      if (!expected) right += 1
    }
  }
  assert.ok(right >= 8, `${right}`)
})

test('a connection fails for what tls.connect would fail for, with the same code', async () => {
  const cases: readonly (readonly [code: string | undefined, issued: Issued])[] = [
    [undefined, await server({ dns: ['localhost'] })],
    ['ERR_TLS_CERT_ALTNAME_INVALID', await server({ dns: ['example.org'] })],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE', await server({ dns: ['localhost'] }, namesake)],
    ['CERT_HAS_EXPIRED', await server({ dns: ['localhost'], notBefore: at(-2), notAfter: at(-1) })],
    ['CERT_NOT_YET_VALID', await server({ dns: ['localhost'], notBefore: at(1), notAfter: at(2) })],
    ['INVALID_PURPOSE', await server({ dns: ['localhost'], usages: ['client'] })],
    [
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY|UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      await server({ dns: ['localhost'] }, foreign),
    ],
  ]
  for (const [code, { certificatePem: cert, keyPem: key }] of cases) {
    const listening = createServer({ cert, key }).listen(0, '127.0.0.1')
    await once(listening, 'listening')
    using stack = new DisposableStack()
    stack.defer(() => void listening.close())
    const { port } = listening.address() as AddressInfo
    const outcome = async (open: typeof connectTls): Promise<string> => {
      const socket: TLSSocket = open({ host: '127.0.0.1', port, servername: 'localhost', ca: ca.issued.certificatePem })
      const [error] = await Promise.race([
        once(socket, 'secureConnect'),
        new Promise<[unknown]>((resolve) => socket.once('error', (thrown) => resolve([thrown]))),
      ])
      assert.equal(socket.authorized, error === undefined)
      socket.destroy()
      return (error as NodeJS.ErrnoException | undefined)?.code ?? 'connected'
    }
    assert.match(await outcome(connectTls), new RegExp(`^(?:${code ?? 'connected'})$`))
    assert.equal(await outcome(connectTls), await outcome(connect))
  }
})
