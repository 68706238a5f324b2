import type { UserConfig, UserConfigValue } from '../base/user-config.ts'

/** Where the values of a {@link ConfigReader} come from, for its error messages. */
export interface ConfigSource {
  /** What holds the values, as the subject of a sentence: `The configuration of app acme/digits`. */
  readonly name: string
  /** Says where to set a value. */
  remedy(key: string, example: string): string
}

/**
 * Reads configuration values with a type. A value that is missing or of another type throws a TypeError that names the key,
 * the app, and where to set the value; with a default, only a value of another type does.
 *
 * @example
 * const rounds = context.config.integer('num-server-rounds')
 * const learningRate = context.config.number('learning-rate', 0.1)
 * const partition = context.config.node.integer('partition-id')
 */
export class ConfigReader {
  readonly #values: UserConfig
  readonly #source: ConfigSource

  /** @internal */
  constructor(values: UserConfig, source: ConfigSource) {
    this.#values = values
    this.#source = source
  }

  /** Whether the configuration has this key. */
  has(key: string): boolean {
    return Object.hasOwn(this.#values, key)
  }

  /** Returns a float or an integer. Throws a TypeError if an integer is too large for a JavaScript number. */
  number(key: string, fallback?: number): number {
    return this.#read(key, fallback, 'a number', '0.1', (value) => {
      if (typeof value === 'number') return value
      return typeof value === 'bigint' && BigInt(Number(value)) === value ? Number(value) : undefined
    })
  }

  /** Returns an integer of at most 2^53. `1.5` is none; `2.0` is. */
  integer(key: string, fallback?: number): number {
    return this.#read(key, fallback, 'an integer', '3', (value) => {
      const whole = typeof value === 'bigint' ? Number(value) : value
      return Number.isSafeInteger(whole) ? (whole as number) : undefined
    })
  }

  /** Returns a text. */
  string(key: string, fallback?: string): string {
    return this.#read(key, fallback, 'a string', '"text"', (value) => (typeof value === 'string' ? value : undefined))
  }

  /** Returns `true` or `false`. */
  boolean(key: string, fallback?: boolean): boolean {
    return this.#read(key, fallback, 'a boolean', 'true', (value) => (typeof value === 'boolean' ? value : undefined))
  }

  #read<T>(
    key: string,
    fallback: T | undefined,
    kind: string,
    example: string,
    convert: (value: UserConfigValue) => T | undefined,
  ): T {
    const value = this.has(key) ? this.#values[key] : undefined
    if (value === undefined) {
      if (fallback !== undefined) return fallback
      throw new TypeError(`${this.#source.name} has no '${key}': ${this.#source.remedy(key, example)}.`)
    }
    const converted = convert(value)
    if (converted !== undefined) return converted
    const found = typeof value === 'string' ? JSON.stringify(value) : value
    throw new TypeError(
      `'${key}' is ${found} in ${lowerFirst(this.#source.name)}, which is not ${kind}: ${this.#source.remedy(key, example)}.`,
    )
  }
}

/** Reads the configuration of the run, and through `node` that of the SuperNode. */
export class AppConfig extends ConfigReader {
  /** Reads `--node-config` of the SuperNode. */
  readonly node: ConfigReader

  /** @internal `app` is the app's name, if it is known. */
  constructor(values: { runConfig: UserConfig; nodeConfig: UserConfig }, app?: string) {
    const owner = app ? `app ${app}` : 'the app'
    super(values.runConfig, {
      name: `The configuration of ${owner}`,
      remedy: (key, example) =>
        `set ${key} = ${example} under [tool.flwr.app.config] in its pyproject.toml, or start the run with --run-config '${key}=${example}'`,
    })
    this.node = new ConfigReader(values.nodeConfig, {
      name: `The configuration of the SuperNode, which ${owner} reads,`,
      remedy: (key, example) => `start flower-supernode with --node-config '${key}=${example}'`,
    })
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
