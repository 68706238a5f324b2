import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { withoutOwnNetwork } from '../harness/own-network.ts'
import { programFolder } from '../harness/program.ts'
import { readGuide } from '../harness/read-guide.ts'

const needsOpenssl = spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false
const skip = withoutOwnNetwork
/** The last block of the guide to mutual TLS revokes the certificate of its only SuperNode, with a config.toml of its own. */
const untilOffline = 'export FLWR_HOME="$PWD/flwr-home"; until flwr supernode ls trial | grep offline; do sleep 1; done'

// The README shows both; test/guide-blocks.test.ts checks that every guide finds config.toml in either case.
for (const withFlwrHome of [true, false]) {
  const where = withFlwrHome ? 'with FLWR_HOME set' : 'without FLWR_HOME'

  test(`the commands of the README can be pasted into an empty folder, ${where}`, { skip }, async () => {
    const said = await readGuide({ guide: 'README.md', withFlwrHome })
    assert.match(said, /node-1 .*online/)
    assert.match(said, /finished:completed/)
  })
}

test('the commands of the guide to simulation can be pasted into an empty folder', { skip }, async () => {
  const said = await readGuide({ guide: 'docs/guides/simulation.md', withFlwrHome: true })
  assert.match(said, /\[ROUND 3\/3\]/)
  assert.match(said, /finished:completed/)
})

test('the commands of the guide to the dashboard can be pasted into an empty folder', { skip }, async () => {
  const said = await readGuide({
    guide: 'docs/guides/dashboard.md',
    withFlwrHome: false,
    // The one that the guide has started may not have printed its address yet: another one is waited for.
    after: `grep -c "<svg" run.html && echo drawn
flwr dashboard --no-browser > address.txt &
until grep http address.txt; do sleep 0.1; done`,
  })
  assert.match(said, /http:\/\/127\.0\.0\.1:\d+\//)
  assert.match(said, /^drawn$/m)
})

for (const { guide, tests } of [
  { guide: 'docs/guides/write-a-strategy.md', tests: ['a model that moves much farther', 'momentum makes later'] },
  { guide: 'docs/guides/python-and-typescript.md', tests: ['a model is written and read again'] },
]) {
  test(`the commands and the app of ${guide} work in an empty folder`, { skip }, async () => {
    // In the place of npm install, for which there is no registry.
    const sdk = `mkdir node_modules && ln -s "${dirname(programFolder)}" node_modules/trellis-fl`
    const said = await readGuide({ guide, withFlwrHome: true, before: [{ text: sdk }] })
    for (const name of tests) assert.match(said, new RegExp(`✔ ${name}`))
  })
}

test('the commands of the guide to operating can be pasted into an empty folder', { skip }, async () => {
  const said = await readGuide({ guide: 'docs/guides/operating.md', withFlwrHome: true })
  assert.match(said, /finished:completed/)
  assert.match(said, /backup\/state\.db: \d+ objects.*: no fault\./)
})

test('the commands of the guide to mutual TLS can be pasted into an empty folder', {
  skip: skip || needsOpenssl,
}, async () => {
  const said = await readGuide({ guide: 'docs/guides/mutual-tls.md', withFlwrHome: false, after: untilOffline })
  assert.match(said, /node-1 .*Hospital A .*certificate/)
  assert.match(said, /The client certificate has been revoked/)
  assert.match(said, /revoked-by-crl/)
})
