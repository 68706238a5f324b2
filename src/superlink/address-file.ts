import { rmSync, writeFileSync } from 'node:fs'
import { errorText, UsageError } from '../base/errors.ts'
import { takeLock } from '../db/database.ts'

/**
 * A file that says where the Control API is, and in the next line the id of this process, for programs that look for this SuperLink. One SuperLink at a time has it;
 * it is there while the SuperLink serves. Throws a UsageError when another one has it.
 */
export function claimAddressFile(path: string): { write(address: string): void } & Disposable {
  let lock: ReturnType<typeof takeLock>
  try {
    lock = takeLock(path)
  } catch (cause) {
    const inUse = /in use/.test(errorText(cause))
    const what = inUse ? 'is in use by another SuperLink' : 'cannot be written: check its folder'
    throw new UsageError(`--address-file: ${path} ${what}.`, { cause })
  }
  // A former owner that was killed left its own.
  rmSync(path, { force: true })
  return {
    write: (address) => writeFileSync(path, `${address}\n${process.pid}\n`, { mode: 0o600 }),
    [Symbol.dispose]() {
      rmSync(path, { force: true })
      lock.close()
    },
  }
}
