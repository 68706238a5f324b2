const categories = ['train', 'evaluate', 'query', 'system'] as const
export type MessageCategory = (typeof categories)[number]

/** Types of the legacy API, which carry no action. */
const legacyTypes = ['get_parameters', 'get_properties', 'reconnect']

/** Whether peers accept it: a category, optionally with one action that is a Python identifier, or a legacy type. */
export function isMessageType(messageType: string): boolean {
  return (
    legacyTypes.includes(messageType) || /^(train|evaluate|query|system)(\.[\p{L}_][\p{L}\p{N}_]*)?$/u.test(messageType)
  )
}

/** `train.foo` is category `train`, action `foo`; without an action it is `default`. */
export function splitMessageType(messageType: string): { category: string; action: string } {
  const [category = '', action = 'default'] = messageType.split('.', 2)
  return { category, action }
}
