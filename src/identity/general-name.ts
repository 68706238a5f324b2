import { bytesOf, contentOf, type Element, elementsIn, onlyIn, tags } from './der.ts'
import { readAttributes } from './distinguished-name.ts'

/** A name of one of nine types (RFC 5280 section 4.2.1.6): alternative names, constraints and addresses are made of them. */
export interface GeneralName {
  readonly type: number
  /** DER of the name if it is a directory name, the content otherwise. */
  readonly content: Uint8Array
}

export const generalNameTypes = { email: 1, dns: 2, directory: 4, uri: 6, ip: 7 } as const

/** otherName, x400Address, directoryName and ediPartyName are made of other elements. */
const constructedTypes: readonly number[] = [0, 3, 4, 5]
const typeMax = 8
const [contextClass, constructedBit] = [0x80, 0x20]

export function readGeneralName(der: Uint8Array, element: Element): GeneralName {
  const type = element.tag & 0x1f
  const form = constructedTypes.includes(type) ? contextClass | constructedBit : contextClass
  if (type > typeMax || (element.tag & 0xe0) !== form) throw new Error('a name of an unknown type')
  if (type !== generalNameTypes.directory) return { type, content: contentOf(der, element) }
  const name = onlyIn(der, element, tags.sequence)
  readAttributes(der, name)
  return { type, content: bytesOf(der, name) }
}

export function readGeneralNames(der: Uint8Array, list: Element): GeneralName[] {
  return [...elementsIn(der, list)].map((element) => readGeneralName(der, element))
}

/** As text: the standard has ASCII here, so a byte is a character. */
export function generalNameText({ content }: GeneralName): string {
  return Buffer.from(content.buffer, content.byteOffset, content.length).toString('latin1')
}
