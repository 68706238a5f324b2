/**
 * The names that apps import the SDK by: the package with the programs, and the one without. A running app gets the SDK of the
 * program that runs it under either name.
 */
export const sdkNames: readonly string[] = ['trellis-fl', 'trellis-fl-sdk']
