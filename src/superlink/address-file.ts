import { randomBytes, timingSafeEqual } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { takeLock } from '../db/database-file.ts'
import type { Interceptor } from '../rpc/interceptor.ts'

/**
 * A file for the users of this SuperLink, line by line: the address of the Control API, the id of this process, and the
 * secret without which the Control API refuses every call. Only the user of this process can read it.
 */
export interface AddressFile extends Disposable {
  /** Refuses calls of the service with this name that do not know the secret. */
  guard(service: string): Interceptor
  write(address: string): void
}

/** One SuperLink at a time has a file; it is there while the SuperLink serves. Throws a UsageError when another one has it. */
export function claimAddressFile(path: string): AddressFile {
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
  const secret = randomBytes(32).toString('hex')
  return {
    guard: (service) => ({
      onHead(head, called) {
        if (called.service !== service) return
        const given = Buffer.from(head.header('trellis-secret')[0] ?? '')
        const known = Buffer.from(secret)
        if (given.length !== known.length || !timingSafeEqual(given, known)) throw new DomainError('token-invalid')
      },
    }),
    write: (address) => writeFileSync(path, `${address}\n${process.pid}\n${secret}\n`, { mode: 0o600, flag: 'wx' }),
    [Symbol.dispose]() {
      rmSync(path, { force: true })
      lock.close()
    },
  }
}
