import { copyFileSync, lstatSync, rmSync, statSync, truncateSync } from 'node:fs'

/**
 * Bounds the file that standard output and error of this program go to: a file that is too large is copied to `PATH.1` and begins
 * again. The programs that write to it, such as the SuperExec, have opened it for appending and simply go on. Lines that they write
 * between copy and cut are lost. If the disk has no room for the copy, the old lines are lost too.
 */
export function boundOutputFile(path: string, bytesMax: number): Disposable {
  const look = (): void => cutOutputFile(path, bytesMax)
  look()
  const timer = setInterval(look, lookEveryMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const lookEveryMs = 5_000

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
  } catch {
    // Half a copy takes room on a full disk. A folder of this name is not ours.
    if (lstatSync(copy, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(copy)
  }
}
