import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { createAuditLog } from './audit.ts'
import type { PeerIdentity } from './caller.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
const clock = { now: () => Date.parse('2026-11-24T12:00:00.123Z') }
const call = { listener: 'Fleet API', method: '/flwr.proto.Fleet/ActivateNode', peerAddress: '127.0.0.1:1' } as const

test('every line has the same fields, in the same order, and only its owner may read the file', () => {
  const file = directory.file('audit.jsonl')
  const known = { identity: 'node-1', organization: 'Hospital A', serial: '0A', fingerprint: 'AB:CD' }
  const peer: PeerIdentity = {
    ...{
      kind: 'certificate',
      ...known,
      roles: new Set(['supernode'] as const),
      notAfter: 1,
      identitySharing: 'refuse',
    },
  }
  const refused: PeerIdentity = { kind: 'refused', reason: 'unknown-ca', sentence: 'x', identity: 'line\nbreak' }
  {
    using audit = createAuditLog(file, { clock, log: silentLogger })
    audit.write({ ...call, peer, decision: 'allow' })
    audit.write({ ...call, peer: refused, decision: 'refuse' })
    audit.write({ ...call, peer: { kind: 'anonymous' }, decision: 'refuse', reason: 'node-id-invalid' })
  }
  const text = readFileSync(file, 'utf8')
  const head = { time: '2026-11-24T12:00:00.123Z', listener: call.listener, method: call.method }
  const unknown = { identity: '', organization: '', serial: '', fingerprint: '' }
  const rest = { peer: '127.0.0.1:1' }
  const expected = [
    { ...head, ...known, ...rest, decision: 'allow', reason: '' },
    { ...head, ...unknown, identity: 'line\nbreak', ...rest, decision: 'refuse', reason: 'unknown-ca' },
    { ...head, ...unknown, ...rest, decision: 'refuse', reason: 'node-id-invalid' },
  ]
  assert.equal(text, expected.map((line) => `${JSON.stringify(line)}\n`).join(''))
  assert.equal(statSync(file).mode & 0o777, 0o600)
  {
    using again = createAuditLog(file, { clock, log: silentLogger })
    again.write({ ...call, peer, decision: 'allow' })
  }
  assert.equal(readFileSync(file, 'utf8').split('\n').length, 5, 'a restart appends')
})

test('a file that cannot be opened refuses the start', () => {
  assert.throws(
    () => createAuditLog(directory.file('none/audit.jsonl'), { clock, log: silentLogger }),
    (error) =>
      error instanceof UsageError &&
      /--audit-log: .*none\/audit\.jsonl cannot be written \(ENOENT\)/.test(error.message),
  )
})

test('a disk that is full later is told once a minute, and calls go on', () => {
  const said: string[] = []
  const log = { error: (message: string) => void said.push(message) }
  using audit = createAuditLog('/dev/full', { clock, log })
  for (let count = 0; count < 3; count++) audit.write({ ...call, peer: { kind: 'anonymous' }, decision: 'allow' })
  assert.equal(said.length, 1)
  assert.match(said[0] as string, /The audit log \/dev\/full cannot be written: ENOSPC/)
})

test('after the file was moved away lines go on in a new one, and none is lost', () => {
  const file = directory.file('rotated.jsonl')
  using audit = createAuditLog(file, { clock, log: silentLogger })
  const write = (peerAddress: string): void =>
    audit.write({ ...call, peerAddress, peer: { kind: 'anonymous' }, decision: 'allow' })
  const peersIn = (path: string): string[] =>
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).peer)
  write('1')
  renameSync(file, `${file}.1`)
  write('2')
  audit.reopen()
  write('3')
  assert.deepEqual([peersIn(`${file}.1`), peersIn(file)], [['1', '2'], ['3']])
  assert.equal(statSync(file).mode & 0o777, 0o600)
})

test('where no new file can be opened lines go on in the old one, and the log says so', () => {
  const folder = directory.file('gone')
  mkdirSync(folder)
  const file = `${folder}/audit.jsonl`
  const said: string[] = []
  using audit = createAuditLog(file, { clock, log: { error: (message) => void said.push(message) } })
  renameSync(folder, `${folder}-moved`)
  audit.reopen()
  audit.write({ ...call, peer: { kind: 'anonymous' }, decision: 'allow' })
  assert.equal(readFileSync(`${folder}-moved/audit.jsonl`, 'utf8').split('\n').length, 2)
  assert.match(said[0] ?? '', /goes on in the old file: --audit-log: .* cannot be written/)
})
