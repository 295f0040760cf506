/**
 * Which keys of two snapshots' maps do not hold the same object. Both are walked side by side: most of a snapshot is
 * that of the one before, in the same order, and then no key is looked up. Pure.
 */

/** Keys that came, went, or hold another object. */
export function differences<Key, Value>(
  before: ReadonlyMap<Key, Value>,
  after: ReadonlyMap<Key, Value>,
): Set<Key> {
  const different = new Set<Key>()
  if (before === after) return different
  const old = before.entries()
  const now = after.entries()
  let was = old.next()
  let is = now.next()
  while (!was.done && !is.done) {
    const [wasKey, wasValue] = was.value
    const [key, value] = is.value
    if (key === wasKey) {
      if (value !== wasValue) different.add(key)
      is = now.next()
      was = old.next()
    } else if (after.has(wasKey)) {
      // It is new here, or was elsewhere.
      if (before.get(key) !== value) different.add(key)
      is = now.next()
    } else {
      different.add(wasKey)
      was = old.next()
    }
  }
  for (; !is.done; is = now.next()) if (before.get(is.value[0]) !== is.value[1]) different.add(is.value[0])
  for (; !was.done; was = old.next()) if (!after.has(was.value[0])) different.add(was.value[0])
  return different
}
