// Registering and running checks, whichever client they are made with.
//
// A check waits for a condition and has a deadline; it never sleeps in the hope that something has
// happened meanwhile. Topic names carry the time of the run, so a suite can run again and again
// against one broker.

export const DEADLINE_MS = 60_000
export const HOUR_MS = 3_600_000
// The largest batch that a topic takes unless it says otherwise.
export const LIMIT = 1_048_588
export const RUN = Date.now().toString(36)
// Error codes as the protocol numbers them.
export const CODE = {
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  MESSAGE_TOO_LARGE: 10,
  TOPIC_ALREADY_EXISTS: 36,
  INVALID_PARTITIONS: 37,
  INVALID_CONFIG: 40,
}

const checks = []

// Registers a check under the name it is reported by.
export const check = (name, run) => checks.push({ name, run })

export function within(what, promise, ms = DEADLINE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in ${ms} ms: ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// Looks until there is something that is neither null nor false, and gives that.
export async function until(what, look) {
  const end = Date.now() + DEADLINE_MS
  for (;;) {
    const found = await look()
    if (found != null && found !== false) return found
    if (Date.now() > end) throw new Error(`not in ${DEADLINE_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

export async function refused(promise) {
  try {
    await promise
  } catch (e) {
    return e
  }
  throw new Error('succeeded, but should have failed')
}

// The protocol's code in an error, however the client wraps it.
export const codeOf = e => [e, e.cause, e.errors?.[0]].find(found => Number.isInteger(found?.code))?.code

export const text = buffer => buffer?.toString() ?? null
export const values = messages => messages.map(m => text(m.value))

// Runs the checks that the command line names, or all, and ends the process.
export async function main(before, after) {
  const wanted = process.argv.slice(3)
  let good = true
  await before()
  for (const { name, run } of checks) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    try {
      await within('the end of the check', run(), DEADLINE_MS + 30_000)
      console.log(`ok ${name}`)
    } catch (e) {
      console.error(e)
      console.log(`FAIL ${name}: ${String(e.message ?? e).replaceAll('\n', ' ')}`)
      good = false
    }
  }
  await after()
  process.exit(good ? 0 : 1)
}
