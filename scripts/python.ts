import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

interface Environment {
  readonly folder: string
  readonly packages: readonly string[]
  /** What its programs import besides Flower and numpy. */
  readonly imports?: readonly string[]
  /** Nightly builds disappear from the index: the tests that need one are skipped, also in CI. */
  readonly isOptional?: true
}

/** The environments with Python Flower that some tests compare with, by the variable that names them. */
const environments: Readonly<Record<string, Environment>> = {
  TRELLIS_PYTHON_129: { folder: 'python-1.29', packages: ['flwr[rest]==1.29.0', 'numpy==2.4.6'] },
  TRELLIS_PYTHON_136: { folder: 'python-1.36', packages: ['flwr==1.36.0', 'numpy==2.4.6'] },
  TRELLIS_PYTHON_141: { folder: 'python-1.41', packages: ['flwr==1.41.0', 'numpy==2.4.6'] },
  TRELLIS_PYTHON_142: { folder: 'python-1.42', packages: ['flwr==1.42.0', 'numpy==2.4.6'] },
  // The nightly build that becomes 1.43.
  TRELLIS_PYTHON_143: {
    folder: 'python-1.43',
    packages: ['flwr-nightly==1.43.0.dev20261026', 'numpy==2.4.6'],
    isOptional: true,
  },
  // What the real apps under test/interop/apps import.
  TRELLIS_PYTHON_APPS: {
    folder: 'python-apps',
    packages: ['flwr==1.41.0', 'numpy==2.4.6', 'scikit-learn==1.9.1', 'scipy==1.17.1', 'xgboost-cpu==3.2.0'],
    imports: ['sklearn.linear_model', 'xgboost'],
  },
}

/**
 * Compiles what Flower's programs and the apps of tests import, most of it by importing it. To compile all modules of all
 * packages takes twice as long.
 */
const compileImported = `
import compileall, importlib, importlib.metadata, os, sys, sysconfig
for name in ('flwr', 'alembic', 'uvicorn', 'websockets'):
    compileall.compile_dir(os.path.join(sysconfig.get_paths()['purelib'], name), quiet=2)
programs = [one for one in importlib.metadata.entry_points(group='console_scripts') if one.value.startswith('flwr.')]
modules = ['flwr.clientapp', 'flwr.serverapp.strategy', 'numpy', *sys.argv[1:]]
for load in [*(one.load for one in programs), *(lambda name=name: importlib.import_module(name) for name in modules)]:
    try:
        load()
    except Exception:
        pass  # Some programs need packages that no test needs.
`

const execute = promisify(execFile)
const cacheFolder = join(import.meta.dirname, '..', '.cache')
/** Where it is, if several work trees share it through a link: one of them may be removed. */
const cache = existsSync(cacheFolder) ? realpathSync(cacheFolder) : cacheFolder

/**
 * Creates the environments that are missing under `.cache/`. Without Python 3.10 or later, or without a package index, it
 * prints a message and the tests that need Python are skipped; in CI that is an error.
 */
export async function preparePython(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  await prepareUv()
  await Promise.all(
    Object.entries(environments).map(async ([variable, environment]) => {
      const directory = process.env[variable] ?? (await prepareEnvironment('Tests', environment))
      if (directory !== undefined) found[variable] = directory
    }),
  )
  return found
}

/** Returns the folder of one environment under `.cache/`, or `undefined` with a message if it cannot be created. */
export async function prepareEnvironment(
  tests: string,
  { folder, packages, imports, isOptional }: Environment,
): Promise<string | undefined> {
  const directory = join(cache, folder)
  try {
    if (!isComplete(directory, packages)) await install(directory, packages, imports)
    return directory
  } catch (error) {
    if (process.env.CI === 'true' && !isOptional) throw error
    process.stdout.write(`${tests} that need Python with ${packages[0]} are skipped: ${reason(error)}\n`)
    return undefined
  }
}

/** Written last: an installation that was cut off, or that holds other versions, is made anew. */
const markerOf = (directory: string): string => join(directory, 'trellis-packages.json')

function isComplete(directory: string, packages: readonly string[]): boolean {
  try {
    // Its programs name their interpreter: they cannot be started in a folder that has been moved.
    const [program = ''] = readFileSync(join(directory, 'bin', 'flwr'), 'utf8').split('\n', 1)
    return readFileSync(markerOf(directory), 'utf8') === JSON.stringify(packages) && existsSync(program.slice(2))
  } catch {
    return false
  }
}

/** An installer that needs a second of processor time where pip needs half a minute. */
const uvVersion = '0.13.9'
const uvFolder = join(cache, `uv-${uvVersion}`)
const uv = join(uvFolder, 'bin', 'uv')

/** Installs uv under `.cache/` if an environment is missing. Where it cannot be had, pip does its work. */
async function prepareUv(): Promise<void> {
  const isMissing = Object.entries(environments).some(
    ([variable, { folder, packages }]) => !process.env[variable] && !isComplete(join(cache, folder), packages),
  )
  if (!isMissing || existsSync(uv)) return
  try {
    await execute('python3', ['-m', 'venv', uvFolder])
    await execute(join(uvFolder, 'bin', 'pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `uv==${uvVersion}`,
    ])
  } catch (error) {
    process.stdout.write(`uv cannot be installed, pip is used: ${reason(error)}\n`)
  }
}

async function install(directory: string, packages: readonly string[], imports: readonly string[] = []): Promise<void> {
  if (!hasPython()) throw new Error('there is no python3 of version 3.10 or later')
  process.stdout.write(`Setting up ${directory} with ${packages.join(', ')}\n`)
  mkdirSync(cache, { recursive: true })
  rmSync(directory, { recursive: true, force: true })
  try {
    if (existsSync(uv)) {
      await execute(uv, ['venv', '--quiet', '--seed', '--python', 'python3', directory])
      const python = join(directory, 'bin', 'python')
      await execute(uv, ['pip', 'install', '--quiet', '--python', python, ...packages])
      const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '' }
      await execute(python, ['-c', compileImported, ...imports], { env })
    } else {
      await execute('python3', ['-m', 'venv', directory])
      await execute(join(directory, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages])
    }
    writeFileSync(markerOf(directory), JSON.stringify(packages))
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

function hasPython(): boolean {
  const { status } = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 10))'])
  return status === 0
}

/** What pip said last, or the first line of the error. */
function reason(error: unknown): string {
  const { stderr = '', message = String(error) } = error as Partial<Error & { stderr: string }>
  return stderr.trim().split('\n').at(-1) || (message.split('\n')[0] ?? '')
}
