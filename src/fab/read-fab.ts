import { errorText } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { peerBounds } from '../base/toml.ts'
import { withoutMissingTwin } from './app-components.ts'
import { checkContentList } from './content-list.ts'
import { findPathCollision } from './member-paths.ts'
import { type Manifest, readPyproject } from './pyproject.ts'
import { invalid, readMembers } from './read-members.ts'

export interface OpenedFab {
  readonly manifest: Manifest
  /** The files by their paths, the list of contents among them. */
  readonly members: ReadonlyMap<string, Uint8Array>
}

/**
 * Opens a bundle from any source. Checks the archive, the paths, the list of contents, and `pyproject.toml`
 * with the names in it. Writes nothing. Throws `fab-invalid`.
 */
export async function readFab(bytes: Uint8Array): Promise<OpenedFab> {
  const members = await readMembers(bytes)
  const collision = findPathCollision(members.keys())
  if (collision) throw invalid(`'${collision[0]}' and '${collision[1]}' cannot both exist in every file system`)
  const pyproject = members.get('pyproject.toml')
  if (!pyproject) throw invalid('no pyproject.toml')
  if (pyproject.length > limits.pyprojectBytesMax)
    throw invalid(`pyproject.toml is larger than ${limits.pyprojectBytesMax} bytes`)
  await checkContentList(members)
  const { manifest } = readPyproject(utf8(pyproject), { bounds: peerBounds })
  const components = withoutMissingTwin(manifest.components, (path) => members.has(path))
  return { manifest: { ...manifest, components }, members }
}

function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    throw invalid(`pyproject.toml is not UTF-8 (${errorText(error)})`)
  }
}
