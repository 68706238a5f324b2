import { flowerGrpcVersion, flowerHttpVersion, trellisVersion } from '../src/base/version.ts'
import { type CommandNode, type OptionNode, withCommands } from './command-tree.ts'

/** Returns the man page of a program as roff. The commands of a program are sections of its page. */
export function manPage(program: CommandNode, all: readonly CommandNode[]): string {
  const others = all.filter(({ path }) => path !== program.path).map(({ path }) => `.BR ${text(path)} (1)`)
  const commands = withCommands(program)
    .slice(1)
    .filter((node) => node.commands.length === 0)
  return `${[
    `.\\" Made from the options in the code by npm run gen.`,
    `.TH ${program.path.toUpperCase()} 1 "" "Trellis ${trellisVersion}" "Trellis"`,
    '.SH NAME',
    `${text(program.path)} \\- ${text(program.summary.replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    `.B ${text(program.path)}`,
    commands.length > 0 && program.options.length <= 2 ? '.I command' : '',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    `Trellis is a runtime for federated learning. It speaks the protocols of Flower ${flowerGrpcVersion} and ${flowerHttpVersion}, and adds mutual TLS.`,
    '.SH OPTIONS',
    ...program.options.flatMap(optionLines),
    ...(commands.length > 0 ? ['.SH COMMANDS', ...commands.flatMap(commandLines)] : []),
    '.SH EXIT STATUS',
    ...tagged('0', 'The program did what it was asked to do.'),
    ...tagged('1', 'It failed. One sentence on standard error says why, and what to do.'),
    ...tagged('2', 'The arguments are wrong.'),
    ...tagged('130', 'It was interrupted with Ctrl-C.'),
    '.SH ENVIRONMENT',
    ...environmentOf(program).flatMap(([name, meaning]) => tagged(name, meaning)),
    '.SH SEE ALSO',
    others.join(',\n'),
  ]
    .filter((line) => line !== '')
    .join('\n')}\n`
}

function environmentOf({ path }: CommandNode): readonly (readonly [string, string])[] {
  return [
    ['FLWR_HOME', 'Folder for config.toml and installed apps. Defaults to ~/.flwr.'],
    ...(path === 'flwr'
      ? [['NO_COLOR', 'If it is set, nothing is printed in colour.'] as const]
      : [['FLWR_LOG_LEVEL', 'Level of the log: debug, info, warning or error. Defaults to info.'] as const]),
  ]
}

function commandLines(node: CommandNode): string[] {
  const usage = node.operands.map((operand) => ` ${operand.usage}`).join('')
  const aliases = node.aliases.map((alias) => ` Also ${node.path.replace(/\S+$/, alias)}.`).join('')
  return [
    `.SS "${text(`${node.path}${usage}`)}"`,
    text(`${sentence(node.summary)}${aliases}`),
    ...node.operands
      .filter((operand) => operand.help !== '')
      .flatMap((operand) => tagged(operand.usage, sentence(operand.help))),
    ...node.options
      .filter(({ names }) => !names.includes('--help') && !names.includes('--version'))
      .flatMap(optionLines),
  ]
}

function optionLines({ flags, help, choices, default: value }: OptionNode): string[] {
  const shown = choices.length > 0 && !choices.every((choice) => help.includes(choice))
  const listed = shown ? ` One of: ${choices.join(', ')}.` : ''
  return tagged(flags, `${sentence(help)}${listed}${value === undefined ? '' : ` Default: ${value}.`}`)
}

function tagged(name: string, meaning: string): string[] {
  return ['.TP', `.B ${text(name)}`, text(meaning)]
}

/** Escapes text for roff: hyphens stay hyphens, and no line is a request. */
function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll('…', '...')
    .replace(/^(?=[.'])/, '\\&')
}

function sentence(plain: string): string {
  return `${plain.charAt(0).toUpperCase()}${plain.slice(1).replace(/\.$/, '')}.`
}
