import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Copy, DockerfileParser, type Instruction } from 'dockerfile-ast'

/** Containerfiles, read by a parser: their stages and what each does. */

const folder = join(import.meta.dirname, '..', '..', 'deploy', 'containers')

export interface Step {
  readonly keyword: string
  /** Everything after the keyword and its flags. */
  readonly text: string
  readonly words: readonly string[]
  /** The stage that a COPY takes from. */
  readonly from: string | undefined
}

export interface Stage {
  readonly name: string
  readonly parent: string
  readonly steps: readonly Step[]
}

export const containerfiles = ['node', 'python'] as const

export function readContainerfile(name: string): string {
  return readFileSync(join(folder, `${name}.Containerfile`), 'utf8')
}

/** The stages in their order, by name. */
export function stagesOf(name: string): Map<string, Stage> {
  const stages = new Map<string, Stage>()
  let steps: Step[] = []
  for (const instruction of DockerfileParser.parse(readContainerfile(name)).getInstructions()) {
    const step = stepOf(instruction)
    if (step.keyword !== 'FROM') {
      steps.push(step)
      continue
    }
    const [parent = '', , stage = ''] = step.words
    steps = []
    stages.set(stage, { name: stage, parent, steps })
  }
  return stages
}

function stepOf(instruction: Instruction): Step {
  const text = instruction.getRawArgumentsContent() ?? ''
  const flags = 'getFlags' in instruction ? (instruction as Copy).getFlags() : []
  return {
    keyword: instruction.getKeyword(),
    text,
    words: instruction.getArguments().map((argument) => argument.getValue()),
    from: flags.find((flag) => flag.getName() === 'from')?.getValue() ?? undefined,
  }
}

/** What a stage and those that it is made from do, in order. */
export function stepsUpTo(stages: ReadonlyMap<string, Stage>, name: string): Step[] {
  const stage = stages.get(name)
  return stage ? [...stepsUpTo(stages, stage.parent), ...stage.steps] : []
}
