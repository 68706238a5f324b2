import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { temporaryDirectory } from '../harness/directory.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually, killIfAlive, run } from '../harness/program.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { type Maker, runPythonFlwr, withoutPython } from '../harness/python-flower.ts'

const startMs = 180_000

/** Says which process it is, and does nothing more. */
const idleServer = `import os, time
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    sign = context.run_config["sign"]
    with open(sign + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(sign + ".new", sign)
    time.sleep(300)
`

/** What the end-to-end scripts of Flower try, with a SuperLink of ours beside theirs. Most of the time is waiting for Flower. */
describe('as Flower tries it', { concurrency: true, skip: withoutPython }, () => {
  for (const superlink of ['1.29', '1.41', 'trellis'] as const) {
    const whose = superlink === 'trellis' ? 'Our' : `Flower ${superlink}'s`
    test(`${whose} SuperLink ends a run as failed when its ServerApp is frozen or killed`, async () => {
      const offline = superlink === '1.41' ? ['--disable-runtime-dependency-installation'] : []
      const options = { superlink, python: '1.41', isPlain: true, superlinkArguments: offline } as const
      await using fleet = await MixedFleet.create(options)
      const end = async (signal: 'SIGSTOP' | 'SIGKILL'): Promise<{ details: string; seconds: number }> => {
        const sign = fleet.directory.file(signal)
        const app = writeMixedApp(fleet.directory.file(`app-${signal.toLowerCase()}`), {
          server: { language: 'python', source: idleServer },
          client: { language: 'python', source: countingClientPython },
          config: `sign = "${sign}"`,
        })
        const running = fleet.flwr('trellis', ['run', app, '--stream'])
        await eventually('the ServerApp', () => existsSync(sign), startMs)
        const pid = Number(readFileSync(sign, 'utf8'))
        process.kill(pid, signal)
        const { status, said } = await running
        if (signal === 'SIGSTOP') killIfAlive(pid)
        assert.equal(status, 1, said)
        const { stdout } = await fleet.flwr('trellis', ['ls', '--format', 'json'])
        const [ended] = JSON.parse(stdout).runs.filter(({ 'fab-name': name }: Record<string, string>) =>
          name?.endsWith(signal.toLowerCase()),
        )
        assert.equal(ended.status, 'finished:failed')
        return { details: ended['status-details'], seconds: ended.elapsed }
      }
      const [frozen, killed] = await Promise.all([end('SIGSTOP'), end('SIGKILL')])
      assert.match(
        frozen.details,
        superlink === '1.29' ? /^No heartbeat received from the run/ : /^No heartbeat received from the task/,
      )
      assert.ok(frozen.seconds > 55 && frozen.seconds < 90, `frozen: ${frozen.seconds} s`)
      if (superlink !== 'trellis') {
        assert.equal(killed.details, frozen.details)
        return
      }
      // The program that started the process sees its end.
      assert.match(killed.details, /^The app process ended before its task was done \(ended by SIGKILL\)/)
      assert.ok(killed.seconds < 10, `killed: ${killed.seconds} s`)
    })
  }

  test('without TLS and keys SuperNodes of every maker come back with their identities to a SuperLink of ours that was killed', async () => {
    await using fleet = await MixedFleet.create({
      superlink: 'trellis',
      python: '1.41',
      isPlain: true,
      superlinkArguments: ['--database', 'state.db'],
    })
    const makers = ['1.29', '1.41', 'trellis'] as const
    const nodes = await Promise.all(makers.map((maker) => fleet.startSupernode(maker)))
    const app = writeMixedApp(fleet.directory.file('app'), {
      server: { language: 'python', source: countingServerPython },
      client: { language: 'python', source: countingClientPython },
      config: 'rounds = 1\nnodes = 3\npause-ms = 0',
    })
    const train = async (): Promise<void> => {
      const { said } = await fleet.flwr('trellis', ['run', app, '--stream'])
      assert.match(said, /weights: 1 11/)
    }
    await train()
    fleet.superlink.kill('SIGKILL')
    await fleet.superlink.end()
    await fleet.startSuperlink()
    const online = async (): Promise<string[]> => {
      const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
      const list: Record<string, string>[] = JSON.parse(stdout).nodes
      return list.filter(({ status }) => status === 'online').map((node) => node['node-id'] ?? '')
    }
    const ids = nodes.map((node) => /SuperNode ID: (\d+)/.exec(node.said)?.[1] ?? '').sort()
    await train()
    assert.deepEqual((await online()).sort(), ids)
    for (const node of nodes) assert.equal(node.said.match(/SuperNode ID: /g)?.length, 1)
  })

  test('connections of an app of old are moved by every flwr alike, and each reads what another has written', async () => {
    using directory = temporaryDirectory()
    const makers = ['1.29', '1.41', 'trellis'] as const
    const told = await Promise.all(
      makers.map(async (maker) => {
        const home = directory.file(`home-${maker}`)
        const app = writeMixedApp(directory.file(`app-${maker}`), {
          server: { language: 'python', source: countingServerPython },
          client: { language: 'python', source: countingClientPython },
          config: legacyConnections,
        })
        const options = { cwd: directory.path, env: { FLWR_HOME: home, NO_COLOR: '1' } }
        const flwr = (who: Maker, ...args: string[]): ReturnType<typeof run> =>
          who === 'trellis' ? run('flwr', args, options) : runPythonFlwr(who, args, options)
        // The form of old: a folder, and the name of one of its connections.
        const { status } = await flwr(maker, 'ls', app, 'near')
        const readers = await Promise.all(makers.map((reader) => flwr(reader, 'config', 'ls', '--format', 'json')))
        const { superlink } = parse(readFileSync(join(home, 'config.toml'), 'utf8')) as { superlink: Connections }
        const { far, near } = superlink
        const roots = relative(app, String(far?.['root-certificates']))
        const project = readFileSync(join(app, 'pyproject.toml'), 'utf8')
        return {
          status,
          chosen: superlink.default,
          far: { ...far, 'root-certificates': roots },
          near: [near?.address, (near?.options as Record<string, unknown> | undefined)?.['num-supernodes']],
          readers: readers.map(({ status, stdout }) => [
            status,
            ['far', 'near'].every((name) => stdout.includes(name)),
          ]),
          isGone: !('federations' in (parse(project) as { tool: { flwr: object } }).tool.flwr),
        }
      }),
    )
    const [first] = told
    assert.deepEqual(first, {
      status: 1,
      chosen: 'far',
      far: { address: 'fl.example:9093', 'root-certificates': 'certs/ca.crt' },
      near: [':local:', 3],
      readers: [
        [0, true],
        [0, true],
        [0, true],
      ],
      isGone: true,
    })
    assert.deepEqual(told, [first, first, first])
  })
})

type Connections = Record<string, Record<string, unknown> | undefined>

const legacyConnections = `[tool.flwr.federations]
default = "far"
[tool.flwr.federations.far]
address = "fl.example:9093"
root-certificates = "certs/ca.crt"
[tool.flwr.federations.near]
options.num-supernodes = 3
`
