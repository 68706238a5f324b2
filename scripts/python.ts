import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Environment {
  readonly folder: string
  readonly packages: readonly string[]
  /** Nightly builds disappear from the index: the tests that need one are skipped, also in CI. */
  readonly isOptional?: true
}

/** The environments with Python Flower that some tests compare with, by the variable that names them. */
const environments: Readonly<Record<string, Environment>> = {
  TRELLIS_PYTHON_129: { folder: 'python-1.29', packages: ['flwr==1.29.0', 'numpy==2.4.6'] },
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
  },
}

const cache = join(import.meta.dirname, '..', '.cache')

/**
 * Creates the environments that are missing under `.cache/`. Without Python 3.10 or later, or without a package index, it
 * prints a message and the tests that need Python are skipped; in CI that is an error.
 */
export async function preparePython(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [variable, environment] of Object.entries(environments)) {
    const directory = process.env[variable] ?? prepareEnvironment('Tests', environment)
    if (directory !== undefined) found[variable] = directory
  }
  return found
}

/** Returns the folder of one environment under `.cache/`, or `undefined` with a message if it cannot be created. */
export function prepareEnvironment(who: string, { folder, packages, isOptional }: Environment): string | undefined {
  const directory = join(cache, folder)
  try {
    if (!isComplete(directory, packages)) install(directory, packages)
    return directory
  } catch (error) {
    if (process.env.CI === 'true' && !isOptional) throw error
    process.stdout.write(`${who} that need Python with ${packages[0]} are skipped: ${reason(error)}\n`)
    return undefined
  }
}

/** Written last: an installation that was cut off, or that holds other versions, is made anew. */
const markerOf = (directory: string): string => join(directory, 'trellis-packages.json')

function isComplete(directory: string, packages: readonly string[]): boolean {
  try {
    return readFileSync(markerOf(directory), 'utf8') === JSON.stringify(packages)
  } catch {
    return false
  }
}

function install(directory: string, packages: readonly string[]): void {
  if (!hasPython()) throw new Error('there is no python3 of version 3.10 or later')
  process.stdout.write(`Setting up ${directory} with ${packages.join(', ')}\n`)
  mkdirSync(cache, { recursive: true })
  rmSync(directory, { recursive: true, force: true })
  try {
    execFileSync('python3', ['-m', 'venv', directory])
    execFileSync(join(directory, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
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

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
