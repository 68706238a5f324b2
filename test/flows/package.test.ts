import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, start } from '../harness/program.ts'

const root = join(import.meta.dirname, '..', '..')

/** An app that must compile against the published types, and one line that must not. */
const typedApp = `
import { ArrayRecord, ClientApp, FedAvg, type Grid, MetricRecord, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const client = new ClientApp().train(async (message, context) => {
  const nodeId: bigint = context.nodeId
  const arrays = new ArrayRecord({ w: NdArray.from(new Float32Array([Number(nodeId)])) })
  return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1 }) }))
})
export const server = new ServerApp().main(async (grid: Grid) => {
  await new FedAvg({ minTrainNodes: 2 }).start(grid, new ArrayRecord({}), { numRounds: 1 })
})
client.query((message, context) => {
  // @ts-expect-error The id of a node is a bigint.
  const nodeId: number = context.nodeId
  return message.reply(new RecordDict({ metrics: new MetricRecord({ nodeId }) }))
})
`

test('the packed release works where it is installed: programs, a new app, the SDK and its types', async () => {
  using directory = temporaryDirectory()
  const npm = (cwd: string, ...args: string[]): string =>
    execFileSync('npm', args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  const packed = npm(root, 'pack', '--silent', '--pack-destination', directory.path).trim().split('\n').at(-1) as string
  writeFileSync(directory.file('package.json'), JSON.stringify({ name: 'elsewhere', private: true, type: 'module' }))
  npm(directory.path, 'install', '--no-audit', '--no-fund', '--prefer-offline', `./${packed}`)

  const bin = join(directory.path, 'node_modules', '.bin')
  const options = { bin, cwd: directory.path, env: { FLWR_HOME: directory.file('home'), NO_COLOR: '1' } }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const name of [
    'flower-superlink',
    'flower-supernode',
    'flower-superexec',
    'flwr',
    'flwr-serverapp',
    'flwr-clientapp',
  ]) {
    const { status, stdout } = await run(name, ['--version'], options)
    assert.equal(status, 0, name)
    assert.match(stdout, new RegExp(`Trellis ${version.replaceAll('.', '\\.')}`), name)
  }

  await using superlink = start(
    'flower-superlink',
    ['--insecure', '--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0'],
    options,
  )
  const [, control = ''] = await superlink.line(/Starting Control API on (\S+)/)
  const [, fleet = ''] = await superlink.line(/Starting Fleet API on (\S+)/)
  await superlink.line(/Starting API on/)
  await using node = start('flower-supernode', ['--insecure', '--superlink', fleet], options)
  await node.line(/SuperNode ID/)
  assert.equal((await run('flwr', ['config', 'list'], options)).status, 0)
  writeFileSync(
    join(directory.path, 'home', 'config.toml'),
    `[superlink]\ndefault = "here"\n[superlink.here]\naddress = "${control}"\ninsecure = true\n`,
  )
  assert.equal((await run('flwr', ['new', 'fresh-app'], options)).status, 0)
  const built = await run('flwr', ['build', '--app', 'fresh-app'], options)
  assert.equal(built.status, 0, built.said)
  assert.match(built.said, /Successfully built \S+\.fab/)
  const trained = await run('flwr', ['run', 'fresh-app', '--stream'], options)
  assert.equal(trained.status, 0, trained.said)
  assert.match(trained.said, /Final line: slope = 2\.9/)

  writeFileSync(
    directory.file('use-sdk.js'),
    `import { ClientApp, NdArray } from 'trellis-fl'\nconsole.log(new ClientApp() instanceof ClientApp, NdArray.from(new Float32Array([1])).dtype)\n`,
  )
  const node26 = join(directory.path, 'node_modules', 'node', 'bin')
  const used = await run('node', ['use-sdk.js'], { ...options, bin: node26 })
  assert.equal(used.stdout.trim(), 'true float32', used.said)

  writeFileSync(directory.file('typed-app.ts'), typedApp)
  const compiler = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', '--types', '', 'typed-app.ts']
  const checked = await run('tsc', compiler, { ...options, bin: join(root, 'node_modules', '.bin') })
  assert.equal(checked.status, 0, checked.said)
})
