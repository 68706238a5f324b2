import { chownSync } from 'node:fs'
import { join } from 'node:path'
import { ProjectedVolume } from '../harness/projected-volume.ts'
import { identityOf, writableFolder } from './container.ts'
import type { Issuers } from './issuers.ts'
import type { Pod, Resource, Volume } from './rendered.ts'

/** Issues the certificates of the pods. */
export type FleetIssuers = Pick<Issuers, 'issueAll' | 'issueSvid' | 'renew' | 'secrets' | 'serviceCaPem'>

/** The volumes of pods, as folders of this machine whose files are laid out as kubelet does. */
export class PodVolumes {
  readonly #resources: readonly Resource[]
  readonly #folder: string
  readonly #issuers: FleetIssuers
  readonly #projected = new Map<string, { volume: Volume; written: ProjectedVolume }>()

  constructor(resources: readonly Resource[], folder: string, issuers: FleetIssuers) {
    this.#resources = resources
    this.#folder = folder
    this.#issuers = issuers
  }

  /** Creates the volumes of a pod and returns their folders by their names. */
  create(pod: Pod): ReadonlyMap<string, string> {
    return new Map([
      ...pod.claims.map((name) => [name, this.#writable(pod, name, 0o2775)] as const),
      ...pod.spec.volumes.map((volume) => [volume.name, this.#layOut(pod, volume)] as const),
    ])
  }

  /** Renews a certificate, and writes it into the volumes of the pods that mount it. */
  async renew(secretName: string): Promise<void> {
    await this.#issuers.renew(secretName)
    for (const { volume, written } of this.#projected.values()) written.swap(this.#filesOf(volume))
  }

  #path(pod: Pod, name: string): string {
    return join(this.#folder, pod.name, 'volumes', name)
  }

  #writable(pod: Pod, name: string, mode: number): string {
    const path = writableFolder(this.#path(pod, name), mode)
    chownSync(path, 0, identityOf(pod).group)
    return path
  }

  #layOut(pod: Pod, volume: Volume): string {
    if (volume.emptyDir) return this.#writable(pod, volume.name, 0o2777)
    const path = this.#path(pod, volume.name)
    const { group } = identityOf(pod)
    const files = volume.csi ? (this.#issuers.secrets.get(`SVID of ${pod.name}`) ?? {}) : this.#filesOf(volume)
    const written = new ProjectedVolume(path, files, { group, mode: volume.projected?.defaultMode ?? 0o644 })
    if (!volume.csi) this.#projected.set(path, { volume, written })
    return path
  }

  #filesOf({ projected, configMap }: Volume): Record<string, string> {
    if (configMap) return { ...this.#configMap(configMap.name) }
    const files: Record<string, string> = {}
    for (const source of projected?.sources ?? []) {
      const data = source.secret
        ? this.#issuers.secrets.get(source.secret.name)
        : this.#configMap(source.configMap?.name as string)
      for (const { key, path } of (source.secret ?? source.configMap)?.items ?? []) files[path] = data?.[key] as string
    }
    return files
  }

  /** Returns a ConfigMap that was rendered, else the bundle of the CA of that name, as a person or trust-manager makes it. */
  #configMap(name: string): Readonly<Record<string, string>> {
    const rendered = this.#resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name)
    if (rendered?.metadata.annotations?.['service.beta.openshift.io/inject-cabundle'])
      return { 'service-ca.crt': this.#issuers.serviceCaPem }
    if (rendered) return rendered.data as Record<string, string>
    return { 'ca.crt': this.#issuers.secrets.get(name)?.['tls.crt'] as string }
  }
}
