import { UsageError } from '../base/errors.ts'
import type { Certificate } from './certificate.ts'
import { FileSet, type FileSetOptions } from './file-set.ts'
import {
  type ClientTlsFiles,
  expiryFault,
  pathsOf,
  type ReadMaterial,
  readAtStart,
  readClientTls,
  readServerTls,
  type ServerTlsFiles,
} from './tls-files.ts'
import type { TlsSource } from './tls-source.ts'

type Surroundings = Pick<FileSetOptions<unknown>, 'clock' | 'log' | 'onReload' | 'restMs' | 'leavesHangup'>

/** The pair and CA of a server, replaced whenever its files hold another good set. */
export async function openServerTls(
  name: string,
  files: ServerTlsFiles,
  surroundings: Surroundings,
): Promise<FileSet<ReadMaterial>> {
  let inUse = false
  const read = () => {
    const now = surroundings.clock.now()
    const readNow = () => readServerTls({ ...files, now })
    const value = inUse ? readNow() : readAtStart(pathsOf(files), readNow)
    // At start an expired certificate is better than none. It does not take the place of another one.
    const fault = inUse && value.leaf ? expiryFault(value.leaf, now) : undefined
    if (fault) throw new UsageError(`${files.certfile.flag}: the certificate in ${files.certfile.path} ${fault}.`)
    return { value, warnings: value.warnings }
  }
  const set = await FileSet.open({ ...surroundings, name, read, paths: () => pathsOf(files) })
  inUse = true
  return set
}

/** The roots of a client and, where given, its own pair. */
export async function openClientTls(
  name: string,
  files: ClientTlsFiles,
  surroundings: Surroundings,
): Promise<FileSet<ReadMaterial>> {
  let inUse = false
  const read = () => {
    const readNow = () => readClientTls({ ...files, now: surroundings.clock.now() })
    const value = inUse ? readNow() : readAtStart(pathsOf(files), readNow)
    return { value, warnings: value.warnings }
  }
  const set = await FileSet.open({ ...surroundings, name, read, paths: () => pathsOf(files) })
  inUse = true
  return set
}

export function tlsSourceOf(set: FileSet<ReadMaterial>): TlsSource {
  return { current: () => set.current().material, subscribe: (onReplaced) => set.subscribe(onReplaced) }
}

/** Returns why peers would reject our own certificate now; `undefined` if it is valid. */
export function ownCertificateFault(set: FileSet<ReadMaterial> | undefined, now: number): string | undefined {
  const leaf = set?.current().leaf
  const fault = leaf && expiryFault(leaf, now)
  return fault && `The ${set.name} ${fault}.`
}

/** Our own certificate, where there is one. */
export function ownCertificates(set: FileSet<ReadMaterial> | undefined): Certificate[] {
  const leaf = set?.current().leaf
  return leaf ? [leaf] : []
}
