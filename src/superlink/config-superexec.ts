import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { readSecretFile } from '../identity/secret-file.ts'
import { isLoopback, parseAddress } from '../rpc/address.ts'

/** Where SuperExecs find the tasks of a SuperLink, and what they must know. */
export interface SuperexecConfig {
  /** Address of the ServerAppIo API; absent: closed. */
  readonly appioAddress: string | undefined
  readonly superexecSecret: Uint8Array | undefined
}

/** Flower's own address of the ServerAppIo API. */
const flowerAddress = '0.0.0.0:9091'
const secretFlag = '--superexec-auth-secret-file'

/**
 * Reads the flags about SuperExecs. Without a secret, tasks are handed out at loopback addresses only, unless `--insecure`
 * was given. Throws a UsageError if no SuperExec could take tasks, or if a port that was asked for would be open to all.
 */
export function readSuperexecs(
  values: OptionValues,
  /** Of `--host` and `--port`. */
  mainAddress: string,
  warnings: string[],
): SuperexecConfig {
  const given = values.serverappioApiAddress as string | undefined
  if (given !== undefined) parseAddress(given, '--serverappio-api-address')
  const secretFile = values.superexecAuthSecretFile as string | undefined
  if (values.isolation !== 'process') {
    if (secretFile !== undefined)
      warnings.push(
        `${secretFlag} is ignored with --isolation subprocess: only the SuperLink's own SuperExec can take tasks.`,
      )
    return { appioAddress: given, superexecSecret: undefined }
  }
  const superexecSecret =
    secretFile === undefined ? undefined : readSecretFile({ flag: secretFlag, path: secretFile }, 104)
  const insecure = values.insecure === true
  if (superexecSecret || insecure) {
    const appioAddress = given ?? flowerAddress
    if (!superexecSecret) warnOfOpenAddresses([mainAddress, appioAddress], warnings)
    else if (!insecure && !isLocal(appioAddress))
      warnings.push(
        `The ServerAppIo API at ${appioAddress} has no TLS: models travel in clear between this SuperLink and SuperExecs on other machines.`,
      )
    return { appioAddress, superexecSecret }
  }
  checkAddresses(given, mainAddress, warnings)
  return { appioAddress: given, superexecSecret }
}

/** With TLS and without a secret. */
function checkAddresses(given: string | undefined, mainAddress: string, warnings: string[]): void {
  const remedy = `give ${secretFlag} to this SuperLink and to its SuperExecs`
  if (given !== undefined && !isLocal(given))
    throw new UsageError(
      `With --isolation process, any program that reaches --serverappio-api-address ${given} could take the tasks of runs: ${remedy}, or give an address of this machine, e.g. 127.0.0.1:9091.`,
    )
  if (given !== undefined) return
  if (!isLocal(mainAddress))
    throw new UsageError(
      `With --isolation process, any program that reaches --host and --port ${mainAddress} could take the tasks of runs: ${remedy}, or give --serverappio-api-address 127.0.0.1:9091 for a SuperExec on this machine.`,
    )
  warnings.push(
    `The ServerAppIo API at ${flowerAddress} stays closed, because it has no TLS and no secret is set: ${remedy} to open it, or --serverappio-api-address 127.0.0.1:9091 for a SuperExec on this machine.`,
  )
}

function warnOfOpenAddresses(addresses: readonly string[], warnings: string[]): void {
  const open = addresses.filter((address) => !isLocal(address))
  if (open.length > 0)
    warnings.push(
      `Any program that reaches ${open.join(' or ')} can take the tasks of runs: give ${secretFlag} to this SuperLink and to its SuperExecs.`,
    )
}

function isLocal(address: string): boolean {
  return isLoopback(parseAddress(address, 'The address for apps').host)
}
