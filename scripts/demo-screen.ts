import { styleText } from 'node:util'

/** What the demo shows: numbered steps, the commands, and what they print. Silent where the summary alone is wanted. */
export class Screen {
  /** Those that were shown, in order. */
  readonly commands: string[] = []
  readonly #quiet: boolean
  #steps = 0

  constructor(quiet: boolean) {
    this.#quiet = quiet
  }

  /** Whether a program may draw on it. */
  get isTerminal(): boolean {
    return !this.#quiet && process.stdout.isTTY === true
  }

  step(text: string): void {
    this.#steps += 1
    this.headline(`${this.#steps}. ${text}`, 'cyan')
  }

  headline(text: string, color: 'cyan' | 'green' | 'red'): void {
    this.say(`\n${styled(['bold', color], text)}\n`)
  }

  command(command: string): void {
    this.commands.push(command)
    this.say(styled('dim', `$ ${command}`))
  }

  say(text: string): void {
    this.write(`${text}\n`)
  }

  write(text: string): void {
    if (!this.#quiet) process.stdout.write(text)
  }
}

/** Without colour where it is not wanted (NO_COLOR) or not understood. */
function styled(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout })
}
