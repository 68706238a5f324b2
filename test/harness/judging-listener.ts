import { readFileSync } from 'node:fs'
import { readLogSettings } from '../../src/base/log-options.ts'
import { createProgramLogger } from '../../src/base/log-sinks.ts'
import { parseCertificate } from '../../src/identity/certificate.ts'
import { judge, noRevocation } from '../../src/identity/judge.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { defaultPolicy } from '../../src/identity/policy.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { toTrustBundle } from '../../src/identity/trust.ts'
import { startListener } from '../../src/rpc/listener.ts'

/** A process with one listener that judges its peers, until its standard input ends. Arguments: certificate, key, CA. */
const [certfile = '', keyfile = '', cafile = ''] = process.argv.slice(2)
const trust = toTrustBundle(pemCertificates(readFileSync(cafile, 'utf8')).map(parseCertificate))
await using listener = await startListener({
  ...{ name: 'test', address: '127.0.0.1:0', services: [], clientAuth: 'require' },
  tls: fixedTlsSource({
    certificate: { chainPem: readFileSync(certfile, 'utf8'), keyPem: readFileSync(keyfile, 'utf8') },
  }),
  log: createProgramLogger(readLogSettings({ logFormat: 'text', logMaxSize: '20M', logKeep: '7' })),
  judge: (chain) =>
    judge({
      ...{ chain, trust, revocation: noRevocation, policy: defaultPolicy, now: Date.now(), requireCertificate: true },
    }),
})
process.stdout.write(`${listener.address.port}\n`)
await new Promise((resolve) => process.stdin.once('end', resolve).resume())
