import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorText, UsageError } from '../base/errors.ts'

/** What a CA remembers of those that it revoked: beside its list, for a list does not carry names. */
export interface Register {
  readonly number: number
  readonly revoked: readonly {
    readonly serial: string
    readonly name: string
    readonly at: string
    readonly reason: number
  }[]
}

export const registerPath = (directory: string, ca: string): string => join(directory, `${ca}.revoked.json`)

/** Throws a UsageError if it cannot be read. A new one is not made, because the old one lists the revoked certificates. */
export function readRegister({ directory, ca }: { directory: string; ca: string }): Register {
  const path = registerPath(directory, ca)
  if (!existsSync(path)) return { number: 0, revoked: [] }
  try {
    const { number, revoked } = JSON.parse(readFileSync(path, 'utf8')) as Register
    if (!Number.isSafeInteger(number) || !Array.isArray(revoked)) throw new Error('it has no number or no entries')
    return { number, revoked }
  } catch (cause) {
    throw new UsageError(
      `${path} cannot be read (${errorText(cause)}): it lists the revoked certificates: restore it.`,
      {
        cause,
      },
    )
  }
}
