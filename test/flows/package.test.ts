import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { run, start } from '../harness/program.ts'

const root = join(import.meta.dirname, '..', '..')

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

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

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())

function npm(cwd: string, ...args: string[]): string {
  // A test runner that finds this variable takes itself for a part of this one, and runs nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return execFileSync('npm', args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
}

/** Packs a folder of the repository; returns the name of the file. */
function pack(folder: string): string {
  const said = npm(root, 'pack', '--silent', '--pack-destination', directory.path, folder)
  return said.trim().split('\n').at(-1) as string
}

/** The paths of the files in a packed package. */
function filesIn(packed: string): string[] {
  return execFileSync('tar', ['-tzf', directory.file(packed)])
    .toString()
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''))
}

function install(folder: string, ...packages: string[]): void {
  npm(folder, 'install', '--no-audit', '--no-fund', '--prefer-offline', '--omit=dev', ...packages)
}

test('the packed release works where it is installed: programs, a new app, the SDK and its types', async () => {
  const packed = pack('.')
  const files = filesIn(packed)
  const top = new Set(files.map((path) => path.split('/')[0]))
  assert.deepEqual([...top].sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'bin',
    'dist',
    'examples',
    'package.json',
    'proto',
    'share',
    'templates',
  ])
  // Modules of the dashboard's page are in its bundle, and no declarations but the SDK's are exported.
  const unused =
    /^examples\/.*\.test\.ts$|^dist\/(superlink|supernode|superexec|cli|db)\/.*\.d\.ts$|^dist\/.*(\.test\.|[^d]\.ts$)|^dist\/web\/(csv|model|waterfall)\.js$/
  assert.deepEqual(
    files.filter((path) => unused.test(path)),
    [],
  )
  const licences = execFileSync('tar', ['-xzOf', directory.file(packed), 'package/dist/LICENSES.txt']).toString()
  assert.match(licences, /^pkijs \d.*, BSD-3-Clause\n\nCopyright/m)
  writeFileSync(directory.file('package.json'), JSON.stringify({ name: 'elsewhere', private: true, type: 'module' }))
  install(directory.path, `./${packed}`)

  const bin = join(directory.path, 'node_modules', '.bin')
  const options = { bin, cwd: directory.path, env: { FLWR_HOME: directory.file('home'), NO_COLOR: '1' } }
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

test('new apps have their types and their test from the SDK package, which brings no program', async () => {
  const programs = { bin: join(directory.path, 'node_modules', '.bin'), cwd: directory.path }
  const made = await run('flwr', ['new', 'fresh-network', '--template', 'tensorflow'], programs)
  assert.equal(made.status, 0, made.said)
  const app = directory.file('fresh-network')
  const manifest = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'))
  assert.equal(manifest.dependencies['trellis-fl'], `npm:trellis-fl-sdk@${version}`)
  // As from the registry, once the package is there. The compiler and the types of Node are those of this repository.
  const dependencies = { ...manifest.dependencies, 'trellis-fl': `file:../${pack('./packages/sdk')}` }
  writeFileSync(join(app, 'package.json'), JSON.stringify({ ...manifest, dependencies, devDependencies: {} }))
  install(app)
  const modules = join(app, 'node_modules')
  const installed = join(modules, 'trellis-fl')
  assert.equal(JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).name, 'trellis-fl-sdk')
  assert.ok(!existsSync(join(modules, 'node')), 'Node is among the packages')
  assert.ok(!readdirSync(join(modules, '.bin')).some((name) => /^fl(wr|ower)/.test(name)), 'programs are installed')
  assert.deepEqual(readdirSync(join(installed, 'dist')).sort(), ['base', 'gen', 'message', 'objects', 'sdk'])
  for (const page of ['reference/strategies.md', 'api/index.html'])
    assert.ok(existsSync(join(installed, 'docs', page)), `${page} is missing`)

  mkdirSync(join(modules, '@types'), { recursive: true })
  symlinkSync(join(root, 'node_modules', '@types', 'node'), join(modules, '@types', 'node'))
  // Another app with the same packages.
  symlinkSync(modules, directory.file('fresh-app/node_modules'))
  for (const [cwd, ...strict] of [[directory.file('fresh-app'), '--skipLibCheck', 'false'], [app]] as const) {
    const checked = await run('tsc', strict, { bin: join(root, 'node_modules', '.bin'), cwd })
    assert.equal(checked.status, 0, checked.said)
  }
  assert.match(npm(directory.file('fresh-app'), 'test'), /✔ three nodes find the line together/)
  assert.match(npm(app, 'test'), /✔ two nodes learn the circle together/)
  const built = await run('flwr', ['build', '--app', 'fresh-network'], programs)
  assert.equal(built.status, 0, built.said)
})
