import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { describe, test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { freePort } from '../harness/free-port.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import type { TestProgram } from '../harness/program.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { type Release, withoutPython } from '../harness/python-flower.ts'

const startMs = 180_000
const clock = joinPath(import.meta.dirname, '..', 'harness', 'python-clock')
const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

describe('the identity of Python programs at our SuperLink', { concurrency: true }, () => {
  for (const release of ['1.29', '1.41'] as const) {
    test(`with --enable-supernode-auth SuperNodes of Flower ${release} come in by keys that its flwr registered, one at a time, with clocks that are right`, {
      skip: withoutPython || needsSshKeygen,
    }, async () => {
      await using fleet = await MixedFleet.create({
        superlink: 'trellis',
        superlinkArguments: ['--enable-supernode-auth'],
      })
      const join = async (keyfile?: string, clockOffsetMs?: number): Promise<TestProgram> =>
        fleet.start(
          release,
          'flower-supernode',
          [
            ...['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress],
            ...(release === '1.29' ? ['--clientappio-api-address=127.0.0.1:0'] : ['--port', `${await freePort()}`]),
            ...(keyfile ? ['--auth-supernode-private-key', keyfile] : []),
          ],
          clockOffsetMs === undefined ? {} : { PYTHONPATH: clock, TEST_CLOCK_OFFSET_MS: String(clockOffsetMs) },
        )
      const [key, skewed] = [await fleet.registerKey(release, 'key'), await fleet.registerKey(release, 'skewed')]
      const [first, automatic, unknown, early, late, right] = await Promise.all([
        join(key.file),
        join(),
        join(fleet.createKey('unknown')),
        join(skewed.file, 300_000),
        join(skewed.file, -312_000),
        join(skewed.file, -290_000),
      ])
      assert.equal((await first.line(/SuperNode ID: (\d+)/, startMs))[1], key.nodeId)
      assert.equal((await right.line(/SuperNode ID: (\d+)/, startMs))[1], skewed.nodeId)
      assert.equal(await automatic.end(startMs), 1)
      assert.match(automatic.said, /All SuperNodes must be registered via the CLI/)
      assert.equal(await unknown.end(startMs), 1)
      assert.match(unknown.said, /No SuperNode found with the given public key|Failed to activate SuperNode/)
      // What a signature is refused for ends them as a person would end them.
      for (const wrong of [early, late]) {
        assert.equal(await wrong.end(startMs), 0)
        assert.doesNotMatch(wrong.said, /SuperNode ID/)
      }

      const second = await join(key.file)
      assert.equal(await second.end(startMs), 1)
      assert.match(second.said, /could not be activated/)
      first.kill()
      await first.end()
      const successor = await join(key.file)
      assert.equal((await successor.line(/SuperNode ID: (\d+)/, startMs))[1], key.nodeId)

      const gone = await fleet.flwr(release, ['supernode', 'unregister', key.nodeId])
      assert.equal(gone.status, 0, gone.said)
      // (1.29 says so and can hang in its own end.)
      await successor.line(/SuperNode terminated gracefully/, startMs)
      assert.equal(right.hasEnded, false)
    })
  }

  test('SuperExecs of both releases that know the secret start the apps of our SuperLink, and others nothing', {
    skip: withoutPython,
  }, async () => {
    using secrets = temporaryDirectory()
    const { file } = secrets
    writeFileSync(file('secret'), 'the secret of the site')
    writeFileSync(file('other'), 'a guess')
    await using fleet = await MixedFleet.create({
      superlink: 'trellis',
      python: '1.41',
      isolation: 'process',
      superlinkArguments: [
        ...['--serverappio-api-address', '127.0.0.1:0', '--superexec-auth-secret-file', file('secret')],
      ],
    })
    const [, plain = ''] = await fleet.superlink.line(/Starting ServerAppIo API on (\S+)/)
    const superexec = (release: Release, secret: string[]): TestProgram => {
      const where =
        release === '1.29'
          ? ['--insecure', '--appio-api-address', plain]
          : ['--root-certificates', fleet.ca.certfile, '--runtime-api-address', fleet.appAddress]
      return fleet.start(release, 'flower-superexec', [...where, '--plugin-type', 'serverapp', ...secret])
    }
    const strangers = (['1.29', '1.41'] as const).flatMap((release) => [
      superexec(release, []),
      superexec(release, ['--superexec-auth-secret-file', file('other')]),
    ])
    await fleet.startSupernode('trellis')
    const app = writeMixedApp(fleet.directory.file('app'), {
      server: { language: 'python', source: countingServerPython },
      client: { language: 'python', source: countingClientPython },
      config: 'nodes = 1\nrounds = 1\npause-ms = 0',
    })
    await Promise.all(strangers.map((stranger) => stranger.end(startMs)))
    for (const release of ['1.29', '1.41'] as const) {
      await using _known = superexec(release, ['--superexec-auth-secret-file', file('secret')])
      const run = await fleet.flwr('trellis', ['run', app, '--stream'])
      assert.match(run.said, /weights: 1 11/, release)
      assert.match(run.said, /finished:completed/, release)
    }
  })

  test("without the certificate that our SuperLink requires Flower 1.41's flwr and SuperNode show why, over the HTTP door", {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({
      superlink: 'trellis',
      superlinkArguments: ['--ssl-require-client-auth'],
    })
    const list = await fleet.flwr('1.41', ['ls', '--format', 'json'])
    assert.match(JSON.parse(list.stdout)['error-message'], /\[code: 1008\] .*certificate/i)
    const node = fleet.start('1.41', 'flower-supernode', [
      ...['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress],
      ...['--port', `${await freePort()}`],
    ])
    // A 401 is what ends it, as a person would; anything else would be tried for ever.
    assert.equal(await node.end(startMs), 0)
    assert.doesNotMatch(node.said, /SuperNode ID/)
  })

  test('a SuperExec of Flower 1.36 hears from our SuperLink which releases it works for', {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', isolation: 'process' })
    const superexec = fleet.start('1.36', 'flower-superexec', [
      ...['--root-certificates', fleet.ca.certfile, '--runtime-api-address', fleet.appAddress],
      ...['--plugin-type', 'serverapp'],
    ])
    await superexec.end(startMs)
    assert.match(
      superexec.said,
      /Exit Code: 606\n.*older than 1\.39 and newer than 1\.29\. Trellis \S+ runs apps for SuperExecs of Flower 1\.29\.0 and 1\.39 to 1\.\d+/,
    )
  })
})
