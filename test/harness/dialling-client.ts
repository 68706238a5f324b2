import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { dial } from '../../src/rpc/dial.ts'

/** A process that dials as our clients do. Each message names a port and what to trust; the reply is what came of it. */
process.on('message', ({ port, rootsPem }: { port: number; rootsPem: string }) => {
  dial({ host: '127.0.0.1', port }, fixedTlsSource({ rootsPem }), ['h2'], 5000).then(
    ({ socket }) => {
      socket.destroy()
      process.send?.('connected')
    },
    (error: Error) => process.send?.(error.message),
  )
})
