const KiB = 1024
const MiB = 1024 * KiB

/**
 * The classes of request bodies; the access table names one for each method. `elementsMax` counts fields and list items.
 * A decoded request may take three times the size of its body, or `decodedBytesMin`; four times up to `fourTimesUpTo`.
 */
export const bodyLimits = {
  small: { bytesMax: 64 * KiB, elementsMax: 1_000, decodedBytesMin: 256 * KiB },
  /** Lists of ids, and short records. */
  list: { bytesMax: 4 * MiB, elementsMax: 60_000, decodedBytesMin: 256 * KiB },
  logs: { bytesMax: 16 * MiB, elementsMax: 200_000, decodedBytesMin: 1 * MiB },
  /** One message with its object tree. */
  tree: { bytesMax: 16 * MiB, elementsMax: 41_000, decodedBytesMin: 1 * MiB },
  /** Ten thousand messages of few objects are mostly ids and fields: what they become may take four times their size. */
  messages: { bytesMax: 64 * MiB, elementsMax: 1_500_000, decodedBytesMin: 1 * MiB, fourTimesUpTo: 32 * MiB },
  /** The context of an app: records with their contents, e.g. lists of small numbers. */
  context: { bytesMax: 64 * MiB, elementsMax: 300_000, decodedBytesMin: 16 * MiB },
  /** One object, or one FAB. */
  content: { bytesMax: 64 * MiB, elementsMax: 10_000, decodedBytesMin: 256 * KiB },
} as const
