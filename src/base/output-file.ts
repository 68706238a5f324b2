import { copyFileSync, fstatSync, lstatSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { UsageError } from './errors.ts'
import { isDiskFull } from './full-disk.ts'

/**
 * Bounds the file that standard output and error of this program are appended to: a file that is too large is copied to `PATH.1`
 * and begins again. The programs that write to it, such as the SuperExec, append too and simply go on. Lines that they write
 * between copy and cut are lost. If the disk has no room for the copy, the old lines are lost too. Throws a UsageError for another
 * file.
 */
export function boundOutputFile(path: string, bytesMax: number): Disposable {
  ensureIsOutput(path)
  const look = (): void => cutOutputFile(path, bytesMax)
  look()
  const timer = setInterval(look, lookEveryMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const lookEveryMs = 5_000

/** Throws a UsageError unless one of these descriptors appends to the file: any other file would lose its content. */
export function ensureIsOutput(path: string, descriptors: readonly number[] = [1, 2]): void {
  const file = statSync(path, { bigint: true, throwIfNoEntry: false })
  const writers = descriptors.filter((descriptor) => {
    const opened = fstatSync(descriptor, { bigint: true })
    return opened.dev === file?.dev && opened.ino === file.ino
  })
  if (writers.length > 0 && writers.every(mayAppend)) return
  throw new UsageError(
    `--output-file must be the file that standard output or error is appended to (>> FILE 2>&1), and ${path} is not.`,
  )
}

/** Linux tells how a file was opened. A program that does not append goes on writing where it was, behind a hole. */
function mayAppend(descriptor: number): boolean {
  try {
    const [, flags = ''] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8')) ?? []
    return flags === '' || (Number.parseInt(flags, 8) & linuxAppend) !== 0
  } catch {
    return true
  }
}

const linuxAppend = 0o2000

export function cutOutputFile(path: string, bytesMax: number): void {
  try {
    if (statSync(path).size <= bytesMax) return
    keepCopy(path)
    truncateSync(path)
  } catch {
    // The user has removed the file or made it unwritable: that must not end the program.
  }
}

function keepCopy(path: string): void {
  const copy = `${path}.1`
  try {
    copyFileSync(path, copy)
  } catch (error) {
    // Half a copy takes room on a full disk. A folder of this name is not ours.
    if (isDiskFull(error) && lstatSync(copy, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(copy)
  }
}
