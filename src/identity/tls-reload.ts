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
export function openServerTls(
  name: string,
  files: ServerTlsFiles,
  surroundings: Surroundings,
): Promise<FileSet<ReadMaterial>> {
  return openTls(name, files, surroundings, (now, isInUse) => {
    const read = readServerTls({ ...files, now })
    // At start an expired certificate is better than none. It does not take the place of another one.
    const fault = isInUse && read.leaf ? expiryFault(read.leaf, now) : undefined
    if (fault) throw new UsageError(`${files.certfile.flag}: the certificate in ${files.certfile.path} ${fault}.`)
    return read
  })
}

/** The roots of a client and, where given, its own pair. */
export function openClientTls(
  name: string,
  files: ClientTlsFiles,
  surroundings: Surroundings,
): Promise<FileSet<ReadMaterial>> {
  return openTls(name, files, surroundings, (now) => readClientTls({ ...files, now }))
}

async function openTls(
  name: string,
  files: ServerTlsFiles | ClientTlsFiles,
  surroundings: Surroundings,
  readAt: (now: number, isInUse: boolean) => ReadMaterial,
): Promise<FileSet<ReadMaterial>> {
  let isInUse = false
  const read = () => {
    const readNow = () => readAt(surroundings.clock.now(), isInUse)
    // A reload waits by itself for files that are being replaced.
    const value = isInUse ? readNow() : readAtStart(files, readNow)
    return { value, warnings: value.warnings }
  }
  const set = await FileSet.open({ ...surroundings, name, read, paths: () => pathsOf(files) })
  isInUse = true
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
