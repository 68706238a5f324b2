import { mkdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { temporaryDirectory } from './directory.ts'
import type { Added } from './guide.ts'
import { startInOwnNetwork } from './own-network.ts'
import { programFolder } from './program.ts'

export interface ReadGuideOptions {
  readonly guide: string
  /** Whether the reader has set FLWR_HOME; else `config.toml` is in the home folder, which is the empty one. */
  readonly withFlwrHome: boolean
  /** Names that the guide uses for this machine. */
  readonly hosts?: readonly string[]
  /** Commands that make what the reader has before, and that check what is there after the last block. */
  readonly before?: readonly Added[]
  readonly after?: string
  /** Folders with more programs, after ours. */
  readonly path?: readonly string[]
}

/** Follows a guide from an empty folder, with its own ports and names. Returns everything that was printed; rejects if a block fails. */
export async function readGuide(options: ReadGuideOptions): Promise<string> {
  const { guide, withFlwrHome, hosts = [], before = [], after = '', path = [] } = options
  using directory = temporaryDirectory()
  const home = directory.file('reader')
  mkdirSync(home)
  const reader = [process.execPath, '--conditions=source', join(import.meta.dirname, 'guide-reader.ts')]
  await using program = startInOwnNetwork(
    [...reader, guide, JSON.stringify(before), JSON.stringify([{ text: after }])],
    {
      ...{ hosts, folder: directory.path, cwd: home },
      env: {
        ...withoutFlwr(process.env),
        ...(withFlwrHome ? { FLWR_HOME: directory.file('flwr-home') } : {}),
        HOME: home,
        TMPDIR: directory.path,
        NO_COLOR: '1',
        // For programs of Python Flower.
        FLWR_TELEMETRY_ENABLED: '0',
        FLWR_DISABLE_UPDATE_CHECK: '1',
        PATH: [programFolder, ...path, process.env.PATH].join(delimiter),
      },
    },
  )
  const status = await program.end(240_000)
  await program.heard()
  if (status !== 0) throw new Error(`A block of ${guide} fails:\n${program.said}`)
  return program.said
}

function withoutFlwr(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  // A test runner in a guide that finds the variable of this one takes itself for a part of it.
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !name.startsWith('FLWR_') && name !== 'NODE_TEST_CONTEXT'),
  )
}
