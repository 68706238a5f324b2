import { UsageError } from '../base/errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** Reads `host:port`, `[v6]:port` or a DNS name with a port. Throws a UsageError (Flower code 600) that names `what`. */
export function parseAddress(text: string, what: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65535) {
    throw new UsageError(`${what} '${text}' is not an address: give HOST:PORT, e.g. 127.0.0.1:9092 or [::1]:9092.`, {
      flowerCode: 600,
    })
  }
  return { host: (match[1] ?? match[2]) as string, port }
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether only programs on this machine reach a listener that is bound to this host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/i.test(host)
}

/** The address by which a program on this machine reaches a listener that is bound to all interfaces. */
export function loopbackAddress({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port }
  return host === '::' ? { host: '::1', port } : { host, port }
}

/** The host of an address with a port. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'))
}
