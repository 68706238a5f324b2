/** The canonical statuses. The gRPC door spells them as gRPC codes, the HTTP door as HTTP statuses. */
export const wireStatuses = {
  'invalid-argument': { grpc: 3, http: 400 },
  'deadline-exceeded': { grpc: 4, http: 504 },
  'not-found': { grpc: 5, http: 404 },
  'already-exists': { grpc: 6, http: 409 },
  'permission-denied': { grpc: 7, http: 403 },
  'resource-exhausted': { grpc: 8, http: 429 },
  'failed-precondition': { grpc: 9, http: 412 },
  unimplemented: { grpc: 12, http: 501 },
  internal: { grpc: 13, http: 500 },
  unavailable: { grpc: 14, http: 503 },
  unauthenticated: { grpc: 16, http: 401 },
} as const

export type WireStatus = keyof typeof wireStatuses
