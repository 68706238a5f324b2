import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parse } from 'smol-toml'
import { findConnection, readFlowerConfig } from './flower-config.ts'
import { movedText, moveLegacyConnections } from './legacy-connections.ts'

const folder = mkdtempSync(join(tmpdir(), 'trellis-legacy-'))
const config = join(folder, 'config.toml')
const project = join(folder, 'pyproject.toml')
after(() => rmSync(folder, { recursive: true }))

const legacy = `[project]
name = "app"
# of the user
[tool.flwr.federations]
default = "remote"

[tool.flwr.federations.remote]
address = "fl.example:9093" # here
root-certificates = "certs/ca.crt"
enable-account-auth = true

[tool.flwr.federations.sim]
options.num-supernodes = 3
options.backend.client-resources.num-cpus = 2
[tool.other]
x = 1
`

test('connections of an app of old go to config.toml, and comments stay in both files', () => {
  writeFileSync(project, legacy)
  writeFileSync(
    config,
    '# mine\n[superlink]\ndefault = "site" # for now\n[superlink.site]\naddress = "a:1" # ours\n[superlink.remote]\naddress = "b:1"\n# end\n',
  )
  const moved = moveLegacyConnections(folder, folder)
  assert.deepEqual([...(moved?.names.keys() ?? [])], ['remote', 'sim'])
  assert.deepEqual(moved?.replaced, ['remote'])
  const read = readFlowerConfig(folder)
  assert.equal(read.defaultName, 'site')
  const remote = findConnection(read, 'remote')
  assert.deepEqual([remote.address, remote.rootCertificates], ['fl.example:9093', join(folder, 'certs/ca.crt')])
  const sim = findConnection(read, 'sim')
  assert.deepEqual([sim.local, sim.simulation?.numSupernodes], ['disk', 3])
  assert.equal(findConnection(read, 'site').address, 'a:1')
  assert.match(readFileSync(config, 'utf8'), /# mine[\s\S]*# ours[\s\S]*# end/)

  const text = readFileSync(project, 'utf8')
  assert.deepEqual(Object.keys(parse(text).tool as object), ['other'])
  assert.match(text, /# of the user\n# These connections have moved[\s\S]*\n# address = "fl.example:9093" # here\n/)
  // Once.
  assert.equal(moveLegacyConnections(folder, folder), undefined)
  assert.equal(readFileSync(project, 'utf8'), text)
})

test('a config.toml that is not there yet, or names no default, gets the one of the app', () => {
  for (const before of [
    undefined,
    '[superlink]\n[superlink.site]\naddress = "a:1"\n',
    '',
    '[superlink.site]\naddress = "a:1"\n',
  ]) {
    rmSync(config, { force: true })
    if (before !== undefined) writeFileSync(config, before)
    writeFileSync(project, legacy)
    const moved = moveLegacyConnections(folder, folder)
    assert.equal(moved?.defaultIsNew, true)
    assert.match(
      movedText(moved, 'flwr ls'),
      /The default is now 'remote'\. To use one of them, name it: flwr ls remote$/,
    )
    const read = readFlowerConfig(folder)
    assert.equal(read.defaultName, 'remote')
    assert.equal(findConnection(read, 'remote').address, 'fl.example:9093')
  }
})

test('the default of config.toml stays, and an app cannot put another connection in its place', () => {
  const mine =
    '[superlink]\ndefault = "remote"\n[superlink.remote]\naddress = "mine:1"\n[superlink.remote-2]\naddress = "b:1"\n'
  writeFileSync(config, mine)
  writeFileSync(project, legacy)
  const moved = moveLegacyConnections(folder, folder)
  assert.ok(moved)
  assert.deepEqual(
    [...moved.names],
    [
      ['remote', 'remote-3'],
      ['sim', 'sim'],
    ],
  )
  assert.equal(
    movedText(moved, 'flwr run .', 'remote'),
    `The connections of the app were moved to ${config}: remote-3, sim. 'remote' of the app is 'remote-3' there, because 'remote' is your default. The default is still 'remote'. To use one of them, name it: flwr run . remote-3`,
  )
  const read = readFlowerConfig(folder)
  assert.equal(read.defaultName, 'remote')
  assert.equal(findConnection(read, undefined).address, 'mine:1')
  assert.equal(findConnection(read, 'remote-3').address, 'fl.example:9093')

  // No name forges a line.
  const forged = { ...moved, names: new Map([['a\nb', 'a\nb']]) }
  assert.match(movedText(forged, 'flwr ls'), /config\.toml: a\\nb\. .* name it: flwr ls a\\nb$/)

  // The same connection needs no second name.
  writeFileSync(project, '[tool.flwr.federations.remote]\naddress = "mine:1"\n')
  const again = moveLegacyConnections(folder, folder)
  assert.deepEqual([[...(again?.names ?? [])], again?.replaced], [[['remote', 'remote']], []])
})

test('nothing is written when a file cannot be edited line by line, or there is nothing to move', () => {
  const odd = '[superlink]\nremote = { address = "a:1" }\n'
  writeFileSync(config, odd)
  writeFileSync(project, legacy)
  assert.throws(
    () => moveLegacyConnections(folder, folder),
    /config\.toml is written in a way that cannot be edited: move/,
  )
  writeFileSync(project, '[tool.flwr]\nfederations = { x = { address = "a:1" } }\n')
  assert.throws(() => moveLegacyConnections(folder, folder), /pyproject\.toml: \[tool\.flwr\.federations\] is written/)
  for (const text of ['[project]\nname = "app"\n', '[tool.flwr.federations]\ndefault = "x"\n', '= nonsense']) {
    writeFileSync(project, text)
    assert.equal(moveLegacyConnections(folder, folder), undefined)
    assert.equal(readFileSync(project, 'utf8'), text)
  }
  assert.equal(readFileSync(config, 'utf8'), odd)
})
