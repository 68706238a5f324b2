/**
 * Configuration values as TOML has them: an integer is a bigint, a float a number. `Number(value)` reads either.
 */
export type UserConfigValue = boolean | bigint | number | string
/** Nested tables are flattened to dotted keys. */
export type UserConfig = Record<string, UserConfigValue>
