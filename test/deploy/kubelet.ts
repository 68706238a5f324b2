import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/**
 * A volume of a Secret, a ConfigMap or a projection as kubelet lays it out and renews it: files are links into `..data`,
 * which is a link to a folder named by the time, and which is replaced in one step.
 */
export class KubeletVolume {
  readonly path: string
  readonly #mode: number
  readonly #group: number | undefined
  #writes = 0

  /** `group` is the pod's fsGroup, for tests that run as root. */
  constructor(path: string, files: Readonly<Record<string, string>>, options: { mode?: number; group?: number } = {}) {
    this.path = path
    this.#mode = options.mode ?? 0o644
    this.#group = options.group
    mkdirSync(path, { recursive: true })
    this.write(files)
  }

  /** Replaces all files. */
  write(files: Readonly<Record<string, string>>): void {
    const old = readdirSync(this.path)
    const current = old.includes('..data') ? readlinkSync(join(this.path, '..data')) : undefined
    this.#writes += 1
    const time = new Date().toISOString().replace(/[-:T]/g, '_').slice(0, 19)
    const folder = `..${time}.${String(this.#writes).padStart(9, '0')}`
    mkdirSync(join(this.path, folder))
    for (const [name, text] of Object.entries(files)) {
      const file = join(this.path, folder, name)
      writeFileSync(file, text)
      chmodSync(file, this.#mode)
      if (this.#group !== undefined) chownSync(file, 0, this.#group)
    }
    symlinkSync(folder, join(this.path, '..data_tmp'))
    renameSync(join(this.path, '..data_tmp'), join(this.path, '..data'))
    for (const name of Object.keys(files))
      if (!old.includes(name)) symlinkSync(join('..data', name), join(this.path, name))
    for (const name of old) if (!name.startsWith('..') && !(name in files)) rmSync(join(this.path, name))
    if (current !== undefined) rmSync(join(this.path, current), { recursive: true })
  }
}
