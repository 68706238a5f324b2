import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface ProjectionOptions {
  /** The defaultMode of the volume; by default keys are for their owner alone. */
  readonly mode?: number
  /** The fsGroup of the pod, for tests that run as root. */
  readonly group?: number
}

/**
 * A folder as kubelet's atomic writer keeps it for secrets and projected volumes: `NAME` → `..data/NAME`, and `..data` → a
 * folder of its own for each version. A swap writes a new folder, renames a new link over `..data`, and removes the old one.
 */
export class ProjectedVolume {
  readonly path: string
  readonly #options: ProjectionOptions
  #version: string | undefined
  #count = 0

  constructor(path: string, files: Readonly<Record<string, string>>, options: ProjectionOptions = {}) {
    this.path = path
    this.#options = options
    mkdirSync(path, { recursive: true })
    this.swap(files)
    for (const name of Object.keys(files)) symlinkSync(join('..data', name), this.file(name))
  }

  file(name: string): string {
    return join(this.path, name)
  }

  swap(files: Readonly<Record<string, string>>): void {
    const version = `..${new Date().toISOString().replace(/\D/g, '_')}.${++this.#count}`
    mkdirSync(this.file(version))
    for (const [name, text] of Object.entries(files)) {
      const file = join(this.file(version), name)
      writeFileSync(file, text)
      chmodSync(file, this.#options.mode ?? (name.endsWith('key') ? 0o600 : 0o644))
      if (this.#options.group !== undefined) chownSync(file, 0, this.#options.group)
    }
    symlinkSync(version, this.file('..data_tmp'))
    renameSync(this.file('..data_tmp'), this.file('..data'))
    if (this.#version !== undefined) rmSync(this.file(this.#version), { recursive: true })
    this.#version = version
  }
}
