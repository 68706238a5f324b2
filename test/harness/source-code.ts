/** A string, a comment or a regular expression, each of which may hold quotes and braces that mean nothing. */
const opaque =
  /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\/|(?<![\w)\]]\s?)\/(?![ *])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//y

/** The source without the text of its template literals; their line breaks and what they embed stay. */
export function withoutTemplateText(source: string): string {
  let code = ''
  // For each open template the braces that are open in its embedded code, or `text` between such code.
  const open: (number | 'text')[] = []
  for (let at = 0; at < source.length; at++) {
    const char = source[at] as string
    const inside = open.at(-1)
    if (inside === 'text') {
      if (char === '\\') at += source[at + 1] === '\n' ? 0 : 1
      else if (char === '`') open.pop()
      else if (source.startsWith('${', at)) {
        open[open.length - 1] = 1
        at++
      } else if (char === '\n') code += char
      continue
    }
    opaque.lastIndex = at
    const [literal] = opaque.exec(source) ?? []
    if (literal !== undefined) {
      code += literal
      at += literal.length - 1
      continue
    }
    if (char === '`') open.push('text')
    else if (inside !== undefined && char === '{') open[open.length - 1] = inside + 1
    else if (inside !== undefined && char === '}') open[open.length - 1] = inside === 1 ? 'text' : inside - 1
    if (char !== '`') code += char
  }
  return code
}

export interface Token {
  readonly text: string
  readonly line: number
}

/** Returns the comments and the quoted strings of a source, each with its line. Template literals are left out. */
export function proseOf(source: string): { comments: Token[]; strings: Token[] } {
  const comments: Token[] = []
  const strings: Token[] = []
  let line = 1
  const code = withoutTemplateText(source)
  for (let at = 0; at < code.length; at++) {
    opaque.lastIndex = at
    const [text] = opaque.exec(code) ?? []
    if (text === undefined) {
      if (code[at] === '\n') line++
      continue
    }
    if (/^\/[/*]/.test(text)) comments.push({ text, line })
    else if (/^['"]/.test(text)) strings.push({ text, line })
    line += text.split('\n').length - 1
    at += text.length - 1
  }
  return { comments, strings }
}
