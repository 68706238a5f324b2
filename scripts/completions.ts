import { type CommandNode, type OptionNode, withCommands } from './command-tree.ts'

/**
 * Completions for bash, zsh and fish. In each of them the words before the cursor are followed to a command; then its commands
 * and options are offered, or the values of the option before the cursor. Where nothing is known, files are offered.
 */

const note = '# Made from the options in the code by `npm run gen`.'

/** Returns the completions of all programs by the name of their file. */
export function completions(programs: readonly CommandNode[]): Record<string, string> {
  return { 'trellis.bash': bash(programs), 'trellis.zsh': zsh(programs), 'trellis.fish': fish(programs) }
}

function bash(programs: readonly CommandNode[]): string {
  const nodes = programs.flatMap(withCommands)
  return `${note}
_trellis() {
  local current=\${COMP_WORDS[COMP_CWORD]} path=\${COMP_WORDS[0]##*/} word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${stepsOf(nodes)
  .map(([step, path]) => `      '${step}') path='${path}' ;;`)
  .join('\n')}
    esac
  done
  COMPREPLY=()
  case "$path \${COMP_WORDS[COMP_CWORD-1]}" in
${valuesOf(nodes)
  .map(
    ({ keys, choices }) =>
      `    ${patterns(keys)}) COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$current")); return ;;`,
  )
  .join('\n')}
    ${patterns(pathKeysOf(nodes))}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case $path in
${nodes.map((node) => `    '${node.path}') COMPREPLY=($(compgen -W '${wordsOf(node).join(' ')}' -- "$current")) ;;`).join('\n')}
  esac
}
complete -o default -F _trellis ${programs.map(({ path }) => path).join(' ')}
`
}

function zsh(programs: readonly CommandNode[]): string {
  const nodes = programs.flatMap(withCommands)
  const described = (word: string, help: string): string => `'${quoted(`${word.replaceAll(':', '\\:')}:${help}`)}'`
  return `#compdef ${programs.map(({ path }) => path).join(' ')}
${note}
_trellis() {
  local path_=\${words[1]:t} word
  local -a entries
  for word in \${words[2,CURRENT-1]}; do
    case "$path_ $word" in
${stepsOf(nodes)
  .map(([step, path]) => `      ('${step}') path_='${path}' ;;`)
  .join('\n')}
    esac
  done
  case "$path_ \${words[CURRENT-1]}" in
${valuesOf(nodes)
  .map(({ keys, choices }) => `    (${patterns(keys)}) compadd -- ${choices.join(' ')}; return ;;`)
  .join('\n')}
    (${patterns(pathKeysOf(nodes))}) _files; return ;;
  esac
  case $path_ in
${nodes
  .map((node) => {
    const entries = [
      ...node.commands.map((sub) => described(lastWord(sub.path), sub.summary)),
      ...node.options.map((option) => described(longName(option), option.help)),
    ]
    return `    ('${node.path}') entries=(${entries.join(' ')}) ;;`
  })
  .join('\n')}
  esac
  _describe 'command or option' entries
  _files
}
compdef _trellis ${programs.map(({ path }) => path).join(' ')}
`
}

function fish(programs: readonly CommandNode[]): string {
  const nodes = programs.flatMap(withCommands)
  const lines = programs.flatMap((program) =>
    withCommands(program).flatMap((node) => {
      const start = `complete -c ${program.path} -n "__trellis_at '${node.path}'"`
      return [
        ...node.commands.map((sub) => `${start} -f -a ${lastWord(sub.path)} -d '${quoted(sub.summary)}'`),
        ...node.options.map((option) => {
          const names = option.names.map((name) =>
            name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
          )
          const values =
            option.choices.length > 0 ? ` -x -a '${option.choices.join(' ')}'` : option.takesValue ? ' -r' : ''
          return `${start} ${names.join(' ')}${values} -d '${quoted(option.help)}'`
        }),
      ]
    }),
  )
  return `${note}
function __trellis_at
  set -l words (commandline -opc)
  set -l path (string replace -r '.*/' '' -- $words[1])
  for word in $words[2..-1]
    switch "$path $word"
${stepsOf(nodes)
  .map(([step, path]) => `      case '${step}'\n        set path '${path}'`)
  .join('\n')}
    end
  end
  test "$path" = "$argv[1]"
end
${lines.join('\n')}
`
}

/** Returns each command with the command above it and its own word, also by its other names. */
function stepsOf(nodes: readonly CommandNode[]): (readonly [step: string, path: string])[] {
  return nodes
    .filter(({ path }) => path.includes(' '))
    .flatMap(({ path, aliases }) =>
      [path, ...aliases.map((alias) => path.replace(/\S+$/, alias))].map((step) => [step, path] as const),
    )
}

/** Returns the options that have a list of values. */
function valuesOf(nodes: readonly CommandNode[]): { keys: string[]; choices: readonly string[] }[] {
  return nodes.flatMap(({ path, options }) =>
    options
      .filter(({ choices }) => choices.length > 0)
      .map(({ names, choices }) => ({ keys: names.map((name) => `${path} ${name}`), choices })),
  )
}

function pathKeysOf(nodes: readonly CommandNode[]): string[] {
  return nodes.flatMap(({ path, options }) =>
    options.filter(({ isPath }) => isPath).flatMap(({ names }) => names.map((name) => `${path} ${name}`)),
  )
}

function patterns(keys: readonly string[]): string {
  return keys.map((key) => `'${key}'`).join('|')
}

function wordsOf(node: CommandNode): string[] {
  return [...node.commands.map(({ path }) => lastWord(path)), ...node.options.map(longName)]
}

function longName({ names }: OptionNode): string {
  return names.at(-1) as string
}

function lastWord(path: string): string {
  return path.split(' ').at(-1) as string
}

/** Returns text that may stand between single quotes in any of the three shells. */
function quoted(text: string): string {
  return text.replaceAll("'", '’')
}
