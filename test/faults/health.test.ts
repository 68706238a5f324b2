import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually, start } from '../harness/program.ts'

test('a SuperLink whose own certificate has expired lives, says so, and is not ready until it is renewed', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const day = 86_400_000
  const server = { usages: ['server'], dns: ['localhost'], ips: ['127.0.0.1'] } as const
  const yesterday = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const { certfile, keyfile } = await ca.issue('server', { ...server, ...yesterday })
  await using superlink = start('flower-superlink', [
    ...['--ssl-certfile', certfile, '--ssl-keyfile', keyfile, '--ssl-ca-certfile', ca.certfile, '--port', '0'],
    ...['--ssl-require-client-auth', '--isolation', 'process', '--health-server-address', '127.0.0.1:0'],
    ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0'],
  ])
  const [, address] = await superlink.line(/health server on (\S+)/)
  const get = async (path: string): Promise<string> => {
    const response = await fetch(`http://${address}${path}`)
    return `${response.status} ${await response.text()}`
  }
  assert.equal(await get('/healthz'), '200 ok\n')
  assert.match(await get('/readyz'), /^503 The server certificate .*expired/)
  assert.match(
    await get('/metrics'),
    /trellis_certificate_expires_in_seconds\{certificate="own",subject="CN=server"\} -\d/,
  )
  assert.match(await get('/nothing'), /^404 /)

  await ca.issue('server', server)
  await superlink.line(/Replaced the server certificate/)
  assert.equal(await get('/readyz'), '200 ok\n')

  // Bad files do not end its work, and are reported as long as they are there.
  writeFileSync(certfile, 'no certificate')
  await superlink.line(/Kept the server certificate/)
  assert.match(
    await get('/readyz'),
    /^200 ok\nThe server certificate in use is not the one in its files, .*server\.pem/,
  )
  assert.match(await get('/metrics'), /^trellis_tls_files_good\{files="server certificate"\} 0$/m)
  await ca.issue('server', server)
  await eventually('the files are good again', async () => (await get('/readyz')) === '200 ok\n')
  assert.match(await get('/metrics'), /^trellis_tls_files_good\{files="server certificate"\} 1$/m)
})
