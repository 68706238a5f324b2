/** Reads the few elements of S3 responses that matter here: flat ones, with texts. */

/** Returns the text of the first element with this name. */
export function textIn(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? []
  return text === undefined ? undefined : unescapeXml(text)
}

/** Returns what is inside each element with this name. */
export function* elementsIn(xml: string, name: string): Generator<string> {
  for (const [, inside = ''] of xml.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))) yield inside
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return entities[name] ?? whole
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex as string, 16) : Number(decimal))
  })
}
