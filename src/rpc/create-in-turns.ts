import { create, type DescMessage, isMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf'
import { takeTurns } from '../base/turns.ts'

/** Creates the message of a response without holding up other work: the items of its lists and maps one after the other. */
export function createInTurns<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Promise<Message> {
  return createOf(desc, init, takeTurns())
}

type Turn = () => Promise<void> | undefined
type Values = Record<string, unknown>

async function createOf(desc: DescMessage, init: unknown, turn: Turn): Promise<Message> {
  if (isMessage(init)) return init
  const values: Values = { ...(init as Values) }
  for (const field of desc.fields) {
    const value = values[field.localName]
    if (!field.message || typeof value !== 'object' || value === null) continue
    if (field.fieldKind === 'message') values[field.localName] = await createOf(field.message, value, turn)
    else if (field.fieldKind === 'list') values[field.localName] = await createAll(field.message, value as [], turn)
    else {
      const items = await createAll(field.message, Object.values(value), turn)
      values[field.localName] = Object.fromEntries(Object.keys(value).map((key, index) => [key, items[index]]))
    }
  }
  return create(desc, values as MessageInitShape<DescMessage>)
}

async function createAll(desc: DescMessage, inits: readonly unknown[], turn: Turn): Promise<Message[]> {
  const messages: Message[] = []
  for (const init of inits) {
    messages.push(isMessage(init) ? init : create(desc, init as MessageInitShape<DescMessage>))
    const pause = turn()
    if (pause) await pause
  }
  return messages
}
