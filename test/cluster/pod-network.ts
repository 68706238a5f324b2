import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** A network name space, and the address in it. */
export interface NetworkSpace {
  readonly name: string
  readonly path: string
  readonly address: string
}

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' })

/** Where `ip netns` keeps the name spaces, and their names, with the process that made them. */
export const networkSpaces = { parent: '/run/netns', made: /^trellis-cluster-(\d+)-/ } as const

/**
 * The network of pods: each pod has a network name space with an address of its own. A bridge in a further name space joins
 * them; this machine's network is not connected to it, and nothing in a pod reaches the machine.
 */
export class PodNetwork implements Disposable {
  readonly #spaces: string[] = []
  readonly #bridge: string
  #count = 0

  constructor() {
    this.#bridge = this.#createSpace('bridge')
    ip('-n', this.#bridge, 'link', 'add', 'pods', 'type', 'bridge')
    ip('-n', this.#bridge, 'link', 'set', 'pods', 'up')
  }

  /** Creates a name space that is connected to all others of this network. */
  connect(name: string): NetworkSpace {
    const space = this.#createSpace(name)
    this.#count++
    // Addresses for documentation, which no network has.
    const [port, address] = [`pod${this.#count}`, `192.0.2.${this.#count}`]
    ip('-n', this.#bridge, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
    ip('-n', this.#bridge, 'link', 'set', port, 'master', 'pods', 'up')
    ip('-n', space, 'address', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', space, 'link', 'set', 'eth0', 'up')
    return { name: space, path: join(networkSpaces.parent, space), address }
  }

  /** Requests a URL from a name space; returns the status of the response, or 0 without a response. */
  status(from: NetworkSpace, url: string): number {
    const script = 'fetch(process.argv[1]).then(({ status }) => console.log(status), () => console.log(0))'
    return Number(ip('netns', 'exec', from.name, process.execPath, '--eval', script, url))
  }

  #createSpace(name: string): string {
    const space = `trellis-cluster-${process.pid}-${name}`
    ip('netns', 'add', space)
    this.#spaces.push(space)
    ip('-n', space, 'link', 'set', 'lo', 'up')
    return space
  }

  [Symbol.dispose](): void {
    for (const space of this.#spaces) ip('netns', 'delete', space)
  }
}
