import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = join(import.meta.dirname, '..')
/** Enough groups that none is the last to end, few enough that their members share most of the modules. */
const groupCount = 12

/**
 * Tests that change their process, count all of its objects, or have hooks before or around every test in it get a process of
 * their own. A hook after all tests deletes what its file has made: it may run later.
 */
const needsOwnProcess =
  /^mock\.|queryObjects\(|\b(before|beforeEach|afterEach)\(|process\.(chdir|exitCode)|delete process\.env|process\.env(\.\w+|\[[^\]]*\])? \W*=[^=]/m
/** Tests of apps that only silence the log share a process. */
const silencesLog = /^mock\.method\(process\.stderr, 'write', \(\) => true\)$/m

/**
 * Files that each import a part of the tests that match the patterns. For tests without programs the start of a process and
 * the loading of modules is most of the cost: fifty take 15 s of processor time in one process, and 43 s in fifty.
 */
export class TestGroups implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'trellis-tests-'))
  /** Files of groups, and of tests that are in none. */
  readonly files: readonly string[]

  constructor(patterns: readonly string[]) {
    const tests = patterns.flatMap((pattern) => globSync(pattern, { cwd: root }).toSorted())
    const sources = new Map(tests.map((test) => [test, readFileSync(join(root, test), 'utf8')]))
    const having = (isWanted: (source: string) => boolean): string[] =>
      tests.filter((test) => isWanted(sources.get(test) as string))
    const isSilent = (source: string): boolean =>
      silencesLog.test(source) && !needsOwnProcess.test(source.replace(silencesLog, ''))
    const silent = having(isSilent)
    const alone = having((source) => needsOwnProcess.test(source) && !isSilent(source))
    const together = having((source) => !needsOwnProcess.test(source))
    const groups = Array.from({ length: groupCount }, (_, group) => {
      const [from, to] = [group, group + 1].map((at) => Math.round((at * together.length) / groupCount))
      return this.#write(`group-${group + 1}.test.mjs`, together.slice(from, to))
    })
    this.files = [...groups, this.#write('silent.test.mjs', silent), ...alone]
  }

  #write(name: string, tests: readonly string[]): string {
    const path = join(this.#folder, name)
    const urls = tests.map((test) => pathToFileURL(join(root, test)).href)
    writeFileSync(path, urls.map((url) => `await import('${url}')\n`).join(''))
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
