/** Hands a file to the browser. */
export function download(name: string, type: string, content: string): void {
  downloadFrom(name, URL.createObjectURL(new Blob([content], { type })))
}

export function downloadFrom(name: string, address: string): void {
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  // The browser reads it after this turn.
  if (address.startsWith('blob:')) setTimeout(() => URL.revokeObjectURL(address), 10_000)
}
