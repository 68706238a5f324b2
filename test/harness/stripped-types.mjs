/** Preloaded into a program with `--import`: says at its end on standard error whether Node loaded what strips types from TypeScript. */
process.on('exit', () => {
  if (process.moduleLoadList.some((name) => name.includes('/amaro/'))) process.stderr.write('stripped types\n')
})
