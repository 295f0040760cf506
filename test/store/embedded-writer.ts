/** The child of embedded.test.ts: writes two equal keys per transaction and says each number that was confirmed. */
import { writeSync } from 'node:fs'
import { SystemClock } from '../../daemon/ports.ts'
import { utf8, utf8Text } from '../../model/bytes.ts'
import { EmbeddedStore } from '../../store/embedded.ts'

const store = new EmbeddedStore({ clock: new SystemClock() }, { path: process.argv[2] ?? '' })
const last = await store.get('/one')
let number = last === undefined ? 0 : Number(utf8Text(last.value))
for (;;) {
  number++
  const value = utf8(String(number))
  await store.transact(
    [],
    [
      { is: 'put', key: '/one', value },
      { is: 'put', key: '/two', value },
    ],
  )
  writeSync(1, `${number}\n`)
}
