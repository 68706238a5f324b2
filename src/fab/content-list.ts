import { hash } from 'node:crypto'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import { takeTurns } from '../base/turns.ts'
import { invalid } from './read-members.ts'

/** `.info/CONTENT`: the list of a bundle's files, with their hashes and sizes. */
export const contentPath = '.info/CONTENT'

export function writeContentList(files: readonly (readonly [path: string, bytes: Uint8Array])[]): string {
  return files.map(([path, bytes]) => `${path},${sha256(bytes)},${bytes.length * 8}`).join('\n')
}

/** Checks that the list names every member but itself once, with its hash and size in bits. Throws `fab-invalid`. */
export async function checkContentList(members: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const turn = takeTurns()
  const list = members.get(contentPath)
  if (!list) throw invalid(`no ${contentPath}`)
  const listed = new Set<string>()
  for (const line of Buffer.from(list).toString().trimEnd().split('\n')) {
    const [, path, expected, bits] = /^(.*),([0-9a-f]{64}),(\d{1,15})$/.exec(line) ?? []
    if (path === undefined) throw invalid(`a line of ${contentPath} cannot be read: '${line.slice(0, 200)}'`)
    const member = members.get(path)
    if (!member || path === contentPath) throw invalid(`'${path}' is listed but missing`)
    if (listed.has(path)) throw invalid(`'${path}' is listed twice`)
    await turn()
    if ((await sha256InTurns(member)) !== expected) throw invalid(`'${path}' has another hash than listed`)
    if (member.length * 8 !== Number(bits)) throw invalid(`'${path}' has another size than listed`)
    listed.add(path)
  }
  for (const path of members.keys())
    if (path !== contentPath && !listed.has(path)) throw invalid(`'${path}' is not listed in ${contentPath}`)
}

export function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}
