/** The one federation of a SuperLink: every node and every account belongs to it. */
export const defaultFederation = {
  name: '@none/default',
  description: 'A federation for testing and development purposes.',
  archived: false,
  simulation: false,
} as const
