/** PEM material of one side of TLS, read and checked as a whole set. */
export interface TlsMaterial {
  /** Own certificate chain, leaf first, and its key. Absent on a client without a certificate. */
  readonly certificate?: { readonly chainPem: string; readonly keyPem: string }
  /** CAs whose certificates are trusted as the *server's* (client side). Absent: the system's. */
  readonly rootsPem?: string
}

/** TLS material that can be replaced while it is in use. Listeners and channels subscribe; nothing else knows. */
export interface TlsSource {
  current(): TlsMaterial
  /** Calls back after each replacement until disposed. */
  subscribe(onReplaced: () => void): Disposable
}

/** Material that never changes. */
export function fixedTlsSource(material: TlsMaterial): TlsSource {
  return { current: () => material, subscribe: () => ({ [Symbol.dispose]() {} }) }
}

/** Material that its owner replaces. */
export class ReplaceableTlsSource implements TlsSource {
  readonly #listeners = new Set<() => void>()
  #material: TlsMaterial

  constructor(material: TlsMaterial) {
    this.#material = material
  }

  current(): TlsMaterial {
    return this.#material
  }

  replace(material: TlsMaterial): void {
    this.#material = material
    for (const listener of this.#listeners) listener()
  }

  subscribe(onReplaced: () => void): Disposable {
    this.#listeners.add(onReplaced)
    return { [Symbol.dispose]: () => void this.#listeners.delete(onReplaced) }
  }
}
