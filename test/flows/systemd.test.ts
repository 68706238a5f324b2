import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { rows as superlinkRows } from '../../src/superlink/options.ts'
import { rows as supernodeRows } from '../../src/supernode/config.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { start } from '../harness/program.ts'

const folder = join(import.meta.dirname, '..', '..', 'deploy', 'systemd')
const units = readdirSync(folder).filter((name) => name.endsWith('.service'))
const exists = (program: string): boolean => spawnSync(program, ['--version']).status === 0

test('the units are valid for systemd, and give our programs options that they have', {
  skip: !exists('systemd-analyze') && 'systemd-analyze is not installed',
}, () => {
  using directory = temporaryDirectory()
  assert.equal(units.length, 2)
  for (const name of units) {
    const unit = readFileSync(join(folder, name), 'utf8')
    // systemd-analyze wants the program to be there.
    writeFileSync(directory.file(name), unit.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true'))
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', directory.file(name)], { encoding: 'utf8' })
    assert.equal(`${status} ${stderr}`, '0 ', name)
    const command = /^ExecStart=\S+\/(\S+)((?:\s*\\\n[^\\\n]*)+)/m.exec(unit)
    const rows = command?.[1] === 'flower-superlink' ? superlinkRows : supernodeRows
    const known = rows.map(({ flags }) => flags.split(' ', 1)[0])
    const used = [...(command?.[2] ?? '').matchAll(/--[a-z-]+/g)].map(([flag]) => flag)
    assert.ok(used.length > 4, name)
    assert.deepEqual(
      used.filter((flag) => !known.includes(flag)),
      [],
    )
  }
})

test('a SuperLink tells systemd when it is ready and when it stops', {
  skip: !(exists('systemd-notify') && exists('python3')) && 'systemd-notify or python3 is not installed',
}, async () => {
  using directory = temporaryDirectory()
  mkdirSync(directory.file('home'))
  const socket = directory.file('notify')
  // Node has no datagram sockets for files. systemd-notify waits until its second message, with a descriptor, is closed.
  await using listener = start('python3', ['-u', '-c', receiver, socket], { bin: '/usr/bin' })
  await listener.line(/listening/)
  const args = [
    '--insecure',
    '--fleet-api-address',
    '127.0.0.1:0',
    '--control-api-address',
    '127.0.0.1:0',
    '--port',
    '0',
  ]
  const env = { FLWR_HOME: directory.file('home'), NOTIFY_SOCKET: socket }
  await using superlink = start('flower-superlink', args, { env })
  await listener.line(/READY=1/)
  assert.doesNotMatch(listener.said, /STOPPING/)
  superlink.child.kill('SIGTERM')
  await listener.line(/STOPPING=1/)
  assert.equal(await superlink.end(), 0)
})

const receiver = `
import os, socket, sys
receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiving.bind(sys.argv[1])
print("listening")
while True:
    message, descriptors, _, _ = socket.recv_fds(receiving, 4096, 4)
    for descriptor in descriptors:
        os.close(descriptor)
    print(message.decode())
`
