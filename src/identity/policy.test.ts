import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { blocksOf } from '../../test/harness/guide.ts'
import { UsageError } from '../base/errors.ts'
import { defaultPolicy, readPolicy, rolesOf, runsOf } from './policy.ts'

const directory = temporaryDirectory()
const { file } = directory
after(() => directory[Symbol.dispose]())
before(async () => {
  const ca = await TestCa.create(directory.path, 'hospital-a')
  await ca.issue('node')
})

function policyOf(text: string) {
  writeFileSync(file('policy.toml'), text)
  return readPolicy({ flag: '--ssl-client-policy', path: file('policy.toml') })
}

test('the policy of the guide is read as it says', () => {
  const block = blocksOf('docs/guides/mutual-tls.md').find(({ language }) => language === 'toml')
  const policy = policyOf((block?.text ?? '').replace('hospital-a-ca.crt', 'hospital-a.crt'))
  assert.deepEqual([policy.source, policy.sharing, policy.nodeTags], ['uri', 'refuse', 'any'])
  assert.equal(policyOf('[identity]\nnode-tags = "certificate"\n').nodeTags, 'certificate')
  assert.throws(() => policyOf('[identity]\nnode-tags = "none"\n'), /node-tags must be "any" or "certificate"/)
  assert.deepEqual([...(policy.cas[0]?.organizations ?? [])], ['Hospital A'])
  assert.equal(policy.cas[0]?.cas.size, 1)
  const roles = (identity: string, organization = ''): string[] => [...rolesOf(policy, identity, organization)].sort()
  assert.deepEqual(roles('spiffe://fl.example/supernode/7'), ['supernode'])
  assert.deepEqual(roles('spiffe://fl.example/supernode/7', 'Coordinators'), ['cli', 'supernode'])
  assert.deepEqual(roles('spiffe://fl.example/ada', 'Coordinators'), ['cli'])
  assert.deepEqual(roles('spiffe://fl.example/ada', 'coordinators'), [], 'case counts')
  assert.deepEqual(roles('spiffe://other.example/supernode/7'), [])
})

test('a star stands for any text, also for none, and the rest must be there in order', () => {
  const fits = (pattern: string, identity: string): boolean =>
    rolesOf(policyOf(`[[allow]]\nidentity = ${JSON.stringify(pattern)}\nroles = ["cli"]\n`), identity, '').size > 0
  for (const [pattern, yes, no] of [
    ['node-1', ['node-1'], ['node-10', 'Node-1', '']],
    ['node-*', ['node-', 'node-12'], ['anode-1', 'node']],
    ['*-gpu', ['-gpu', 'a-gpu'], ['a-gpu-']],
    ['a*b*c', ['abc', 'a-b-c', 'abbc'], ['ac', 'acb', 'ab']],
    ['ab*ba', ['abba', 'ab-ba'], ['aba']],
    ['*', ['', 'anything'], []],
    ['a.c', ['a.c'], ['abc']],
  ] as const) {
    for (const identity of yes) assert.ok(fits(pattern, identity), `${pattern} fits ${identity}`)
    for (const identity of no) assert.ok(!fits(pattern, identity), `${pattern} does not fit ${identity}`)
  }
})

test('an entry says which runs an account sees, the widest of several counts, and an admin sees all', () => {
  const policy = policyOf(`[[allow]]
identity = "*"
roles = ["cli"]
[[allow]]
organization = "Lab"
roles = ["cli"]
runs = "organization"
[[allow]]
identity = "auditor"
roles = ["cli"]
runs = "all"
[[allow]]
identity = "root"
roles = ["admin"]
`)
  const runs = (identity: string, organization = '') => runsOf(policy, identity, organization)
  assert.deepEqual(
    [runs('ada'), runs('ada', 'Lab'), runs('auditor', 'Lab'), runs('root')],
    ['own', 'organization', 'all', 'all'],
  )
  assert.deepEqual([...rolesOf(policy, 'root', '')].sort(), ['admin', 'cli'], 'an admin uses the Control API')
  assert.deepEqual([...rolesOf(defaultPolicy, 'root', '')].sort(), ['cli', 'supernode'], 'no policy makes no admin')
  assert.equal(runsOf(defaultPolicy, 'root', 'Lab'), 'own')
})

const limitedCa = '[[ca]]\nfile = "hospital-a.crt"\norganizations = ["Hospital A"]\n'

test('what is not understood in a policy is an error that names file and key', () => {
  for (const [text, sentence] of [
    ['[identity', /policy\.toml: not valid TOML \(.*, line 1\)/],
    ['identity = 1', /\[identity\] must be a table/],
    ['[identity]\nsource = "ip"', /identity\.source must be one of auto, uri, dns, email, cn, subject/],
    ['[identity]\nsharing = "allow"', /unknown key 'sharing' in \[identity\]/],
    ['[identity]\nidentity-sharing = true', /must be "refuse" or "allow"/],
    ['[allow]\nroles = ["cli"]', /\[\[allow\]\] must be written with double brackets/],
    ['[[allow]]\nroles = ["cli"]', /needs identity or organization/],
    ['[[allow]]\nidentity = ""\nroles = ["cli"]', /identity of \[\[allow\]\] must be a text/],
    ['[[allow]]\nidentity = "*"\nroles = ["root"]', /must be a list of "supernode", "cli" and "admin"/],
    ['[[allow]]\nidentity = "*"\nroles = []', /must be a list of "supernode", "cli" and "admin"/],
    ['[[allow]]\nidentity = "*"\nroles = ["cli"]\nruns = "some"', /must be "own", "organization" or "all"/],
    ['[[allow]]\nidentity = "*"\nroles = ["supernode"]\nruns = "all"', /runs of \[\[allow\]\] needs the role "cli"/],
    [`[[allow]]\nidentity = "ada"\nroles = ["admin"]\n${limitedCa}`, /needs organization if \[\[ca\]\] entries have/],
    [`[[allow]]\nidentity = "ada"\nroles = ["cli"]\nruns = "all"\n${limitedCa}`, /any of these CAs could issue/],
    ['[[ca]]\norganizations = ["x"]', /\[\[ca\]\] needs file/],
    ['[[ca]]\nfile = "none.crt"\norganizations = ["x"]', /\[\[ca\]\] file` does not point to a file: .*none\.crt/],
    ['[[ca]]\nfile = "node.pem"\norganizations = ["x"]', /holds no CA certificate/],
    ['[[ca]]\nfile = "node.key"\norganizations = ["x"]', /holds a private key where a certificate belongs/],
    ['[[ca]]\nfile = "hospital-a.crt"', /\[\[ca\]\] needs organizations, crl-unavailable or crl-grace/],
    ['[[ca]]\nfile = "hospital-a.crt"\norganizations = "A"', /organizations of \[\[ca\]\] must be a list of texts/],
    ['[[ca]]\nfile = "hospital-a.crt"\ncrl-grace = "a day"', /crl-grace of \[\[ca\]\] must be a duration/],
    ['[[ca]]\nfile = "hospital-a.crt"\ncrl-unavailable = "maybe"', /must be "allow" or "deny"/],
    ['[[deny]]\nidentity = "*"', /unknown key 'deny' in the file/],
  ] as const) {
    assert.throws(
      () => policyOf(text),
      (error) => error instanceof UsageError && sentence.test(error.message),
      `${text} should say ${sentence}`,
    )
  }
})
