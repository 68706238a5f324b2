import { RpcError } from '../rpc/channel.ts'

/**
 * Whether the SuperLink says that this node is online already: another process has its key, or this one was killed less
 * than a minute ago. Flower 1.41 uses the same words for a key that it does not know.
 */
export function isOnlineAlready(error: unknown): boolean {
  return (
    error instanceof RpcError &&
    error.status === 'failed-precondition' &&
    /could not be activated|^Failed to activate SuperNode/.test(error.message)
  )
}

/** What a SuperLink's refusal means for the operator of a node, where its own words do not say it. */
export function explainRefusal({ message, refusalReason }: RpcError, now: number): string {
  if (refusalReason !== undefined) return message
  const [, meaning] = meanings.find(([pattern]) => pattern.test(message)) ?? []
  return meaning === undefined ? message : `${message.replace(/\.$/, '')}: ${meaning(new Date(now).toISOString())}`
}

const clocks = (now: string): string => `the clock of this machine says ${now}, which must be at most 5 s ahead`

const meanings: readonly (readonly [RegExp, (now: string) => string])[] = [
  [
    /could not be activated|^Failed to activate SuperNode/,
    () => 'its key is not registered there, or a SuperNode with the same key is online.',
  ],
  [/^Invalid timestamp/, (now) => `${clocks(now)} and 5 minutes behind that of the SuperLink.`],
  [
    /^Invalid SuperNode authentication/,
    (now) =>
      `the key is not registered there (any more), or ${clocks(now)} and 5 minutes behind that of the SuperLink.`,
  ],
  [/^No SuperNode found with the given public key/, () => 'register it with flwr supernode register.'],
]
