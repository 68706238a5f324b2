import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { UsageError } from '../../src/base/errors.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { readFab } from '../../src/fab/read-fab.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { pythonOf, withoutReleases } from '../harness/python-flower.ts'
import { writeFolder } from './fab-corpus.ts'

interface Built {
  readonly folder: string
  readonly hash?: string
  readonly files?: readonly string[]
  readonly project?: string
  readonly error?: string
}

const seeds = Number(process.env.TRELLIS_SEEDS ?? 100)

/** Refusals that the page of differences has, by what our builder or Flower's says. */
const documented: readonly { readonly ours?: RegExp; readonly flower?: RegExp }[] = [
  // fab-exclude alone, beside files such as .gitignore that no bundle takes.
  { flower: /removed by non-overridable built-in FAB constraints/ },
]

test('any folder becomes the same FAB as with Flower’s builder', { skip: withoutReleases('1.29') }, async (t) => {
  using directory = temporaryDirectory()
  for (let seed = 0; seed < seeds; seed++) writeFolder(directory.file(`corpus/app-${seed}`), seed)
  const script = `${import.meta.dirname}/python/fabs.py`
  const { stdout } = await promisify(execFile)(pythonOf('1.29'), [script, directory.file('corpus')], {
    maxBuffer: 256 * 1024 * 1024,
  })
  const differences: string[] = []
  let refused = 0
  let same = 0
  for (const line of stdout.trim().split('\n')) {
    const flower = JSON.parse(line) as Built
    const ours = await buildOurs(directory.file(`corpus/${flower.folder}`))
    if (ours.hash !== undefined && ours.hash === flower.hash) same++
    else if (isRefusedByBoth(ours, flower)) refused++
    else if (!isDocumented(ours, flower)) differences.push(explain(ours, flower))
  }
  t.diagnostic(`${same} of ${seeds} folders give the same FAB, and ${refused} are refused by both builders`)
  assert.deepEqual(differences, [])
  assert.ok(same > seeds / 2, `only ${same} of ${seeds} folders can be built`)
})

async function buildOurs(path: string): Promise<Built> {
  const folder = path.split('/').at(-1) as string
  try {
    const { bytes, hash } = buildFab(path)
    const { members } = await readFab(bytes)
    const project = Buffer.from(members.get('pyproject.toml') ?? '').toString()
    return { folder, hash, files: [...members.keys()], project }
  } catch (error) {
    assert.ok(error instanceof UsageError, `${folder}: ${error instanceof Error ? error.stack : error}`)
    return { folder, error: error.message }
  }
}

function isRefusedByBoth(ours: Built, flower: Built): boolean {
  return ours.error !== undefined && flower.error !== undefined
}

function isDocumented(ours: Built, flower: Built): boolean {
  return documented.some((one) =>
    one.ours ? one.ours.test(ours.error ?? '') : one.flower?.test(flower.error ?? '') === true,
  )
}

function explain(ours: Built, flower: Built): string {
  if (ours.error !== undefined || flower.error !== undefined)
    return `${ours.folder}: Flower: ${flower.error ?? 'builds'}; ours: ${ours.error ?? 'builds'}`
  const onlyOurs = ours.files?.filter((path) => !flower.files?.includes(path))
  const onlyFlower = flower.files?.filter((path) => !ours.files?.includes(path))
  if (onlyOurs?.length || onlyFlower?.length)
    return `${ours.folder}: only ours: ${onlyOurs}; only Flower's: ${onlyFlower}`
  const lines = flower.project?.split('\n') ?? []
  const at = ours.project?.split('\n').findIndex((line, index) => line !== lines[index]) ?? -1
  if (at >= 0)
    return `${ours.folder}: line ${at + 1} of pyproject.toml: ${JSON.stringify(ours.project?.split('\n')[at])}, Flower's ${JSON.stringify(lines[at])}`
  return `${ours.folder}: other order or bytes`
}
