import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { buildFab } from '../../fab/bundle.ts'
import { type CreateCommand, formatOption } from '../command.ts'
import { runCommand } from '../output.ts'

export const buildCommand: CreateCommand = (context) =>
  new Command('build')
    .description('build an app into one file, a Flower App Bundle (FAB)')
    .option('--app <path>', 'folder of the app', '.')
    .addOption(formatOption())
    .action(async (options: { app: string; format: string }) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const { bytes, hash, manifest, filename, warnings } = buildFab(resolve(options.app))
        for (const warning of warnings) output.note(`Warning: ${warning}`)
        writeFileSync(filename, bytes)
        output.say(`Successfully built ${filename} (${bytes.length} bytes, hash ${hash})`)
        output.answer({
          success: true,
          'fab-id': manifest.fabId,
          'fab-name': manifest.name,
          'fab-version': manifest.version,
          'fab-hash': hash.slice(0, 8),
          'fab-filename': filename,
        })
        return undefined
      })
    })
