/** MemoryStore against the compliance suite, on a clock that moves only when told. */
import { seconds } from '../../model/time.ts'
import { MemoryStore } from '../../store/memory.ts'
import { testStore } from '../compliance/store.ts'
import { FakeClock } from '../support/ports.ts'

testStore('memory', async () => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  return {
    store,
    other: store.door(),
    pass: async (time) => {
      clock.advance(seconds(time))
      clock.jump(seconds(86_400)) // wall time means nothing to a store
      await new Promise(setImmediate)
    },
    compact: async () => store.compact(),
    cut: async () => store.cut(),
    mend: async () => store.mend(),
    remove: () => store.close(),
  }
})
