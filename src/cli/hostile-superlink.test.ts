import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { escapeCharacter, hostileService, hostileTexts } from '../../test/harness/hostile-values.ts'
import { opensshPublicKey } from '../../test/harness/openssh.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { UsageError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { issue } from '../identity/pki.ts'
import { formatAddress } from '../rpc/address.ts'
import { type Listener, startListener } from '../rpc/listener.ts'
import { main } from './main.ts'
import { writeError } from './output.ts'

const directory = temporaryDirectory()
const { file } = directory
const home = { before: process.env.FLWR_HOME }
const listeners: Listener[] = []

before(async () => {
  // Each run of `main` listens to both streams, and one process runs it some hundred times.
  for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0)
  mkdirSync(file('home'))
  process.env.FLWR_HOME = file('home')
  writeApp(file('app'), { server: 'export const app = 1\n', client: 'export const app = 1\n' })
  const tables: string[] = []
  for (const refuses of [false, true]) {
    const service = hostileService(Control, { refuses, fixed: { status: 'finished', fab_id: 'a/b' } })
    const listener = await startListener({
      name: 'test',
      address: '127.0.0.1:0',
      services: [service],
      log: silentLogger,
    })
    listeners.push(listener)
    tables.push(
      `[superlink.${refuses ? 'refusing' : 'telling'}]\naddress = "${formatAddress(listener.address)}"\ninsecure = true\n`,
    )
  }
  writeFileSync(file('home/config.toml'), tables.join('\n'))
})

after(async () => {
  if (home.before === undefined) delete process.env.FLWR_HOME
  else process.env.FLWR_HOME = home.before
  for (const listener of listeners) await listener.close()
  directory[Symbol.dispose]()
})

/** Runs `flwr` in this process; returns what it writes to both streams. */
async function outputOf(argv: readonly string[], terminal: boolean): Promise<string> {
  const written: string[] = []
  const restore = [process.stdout, process.stderr].map((stream) => {
    const { write } = stream
    stream.write = ((chunk: unknown, ...rest: never[]) => {
      // Reports of the test runner are no texts, and the warnings of Node are not ours.
      if (typeof chunk !== 'string' || chunk.startsWith('(node:')) return write.call(stream, chunk as string, ...rest)
      written.push(chunk)
      return true
    }) as typeof stream.write
    const before = { isTTY: stream.isTTY, hasColors: stream.hasColors }
    Object.assign(stream, { isTTY: terminal, hasColors: () => terminal })
    return () => Object.assign(stream, { write, ...before })
  })
  try {
    await main(argv, new AbortController().signal).catch((error: unknown) => {
      if (!(error instanceof UsageError)) throw error
      writeError(error.message)
    })
  } finally {
    for (const undo of restore) undo()
  }
  return written.join('')
}

const commands: readonly (readonly string[])[] = [
  ['ls'],
  ['ls', '--run-id', '1'],
  ['stop', '1'],
  ['pull', '1'],
  ['login'],
  ['supernode', 'ls'],
  ['supernode', 'register'],
  ['supernode', 'unregister', '1'],
  ['federation', 'ls'],
  ['federation', 'show', '@a/b'],
  ['federation', 'create', 'a'],
  ['federation', 'archive', '@a/b'],
  ['federation', 'add-supernode', '1', '@a/b'],
  ['federation', 'invite', 'list'],
  ['federation', 'invite', 'create', 'a', '@a/b'],
  ['federation', 'simulation-config', '@a/b'],
  ['run'],
]
const withoutFormat: readonly string[] = ['pull', 'login']

/** Puts the key, the app and the settings where a command wants them, and names the SuperLink. */
function complete(command: readonly string[], superlink: string): string[] {
  const [name, sub] = command
  if (sub === 'register') return [...command, file('key.pub'), superlink]
  if (sub === 'simulation-config') return [...command, superlink, '--num-supernodes', '1']
  return name === 'run' ? ['run', file('app'), superlink] : [...command, superlink]
}

/** Those that `flwr` itself uses, and those of the hostile texts. */
const ownColors = new RegExp(`${escapeCharacter}\\[(?:0|1|2|22|31|32|33|36|39)m`, 'g')
const anyColor = new RegExp(`${escapeCharacter}\\[[\\d;]*m`, 'g')

test('whatever a SuperLink returns, a command writes whole lines of printable text', async () => {
  writeFileSync(file('key.pub'), opensshPublicKey())
  for (const superlink of ['telling', 'refusing']) {
    for (const command of commands) {
      const formats = withoutFormat.includes(command[0] as string) ? [[]] : [[], ['--format', 'json']]
      for (const format of formats) {
        for (const terminal of [false, true]) {
          const argv = [...complete(command, superlink), ...format]
          const text = await outputOf(argv, terminal)
          const said = `flwr ${argv.join(' ')} wrote ${JSON.stringify(text)}`
          assert.notEqual(text, '', said)
          assert.doesNotMatch(text.replace(terminal ? ownColors : '', ''), /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, said)
          assert.doesNotMatch(text, /^\W*EVIL/m, said)
          if (format.length > 0) JSON.parse(text)
        }
      }
    }
  }
})

test('the log of an app keeps its lines, and its colours on a terminal alone', async () => {
  for (const argv of [
    ['log', '1', 'telling', '--show'],
    ['log', '1', 'telling'],
  ]) {
    const plain = await outputOf(argv, false)
    assert.doesNotMatch(plain, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, `flwr ${argv.join(' ')}`)
  }
  assert.match(await outputOf(['log', '1', 'telling'], false), /^EVIL linea\nEVIL linea\n/m)
  const colored = await outputOf(['log', '1', 'telling', '--show'], true)
  assert.doesNotMatch(colored.replace(anyColor, ''), /(?!\n)[\p{Cc}\p{Cf}]/u)
})

test('names in certificates reach the terminal as printable text', async () => {
  for (const [index, name] of hostileTexts.entries()) {
    const { certificatePem } = await issue({
      commonName: name,
      organization: name,
      notBefore: new Date(0),
      notAfter: new Date(2.4e12),
    })
    writeFileSync(file(`${index}.pem`), certificatePem)
    for (const argv of [
      ['pki', 'show', file(`${index}.pem`)],
      ['tls', 'check', '--certfile', file(`${index}.pem`)],
    ]) {
      const text = await outputOf(argv, false)
      assert.doesNotMatch(text, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, JSON.stringify(text))
      assert.doesNotMatch(text, /^\W*EVIL/m, JSON.stringify(text))
    }
  }
})
