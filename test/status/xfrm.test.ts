/**
 * The kernel's counters of dropped IPsec packets: every one that kernels have is explained, and only those that move
 * are found.
 */
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import { countersOf, movingCounters, xfrmCounters } from '../../status/checks/xfrm.ts'

/** /proc/net/xfrm_stat of Debian 12's kernel. */
const text = `XfrmInError                     	0
XfrmInBufferError               	0
XfrmInHdrError                  	0
XfrmInNoStates                  	3
XfrmInStateProtoError           	0
XfrmInStateModeError            	0
XfrmInStateSeqError             	0
XfrmInStateExpired              	0
XfrmInStateMismatch             	0
XfrmInStateInvalid              	0
XfrmInTmplMismatch              	12
XfrmInNoPols                    	0
XfrmInPolBlock                  	0
XfrmInPolError                  	0
XfrmOutError                    	0
XfrmOutBundleGenError           	0
XfrmOutBundleCheckError         	0
XfrmOutNoStates                 	0
XfrmOutStateProtoError          	0
XfrmOutStateModeError           	0
XfrmOutStateSeqError            	0
XfrmOutStateExpired             	0
XfrmOutPolBlock                 	0
XfrmOutPolDead                  	0
XfrmOutPolError                 	0
XfrmFwdHdrError                 	0
XfrmOutStateInvalid             	0
XfrmAcquireError                	0
`

/** What this kernel has, which may be newer. */
const here = existsSync('/proc/net/xfrm_stat') ? readFileSync('/proc/net/xfrm_stat', 'utf8') : ''

test('every counter is explained', (t) => {
  const counters = countersOf(text)
  t.equal(counters.size, 28)
  t.equal(counters.get('XfrmInTmplMismatch'), 12)
  t.strictSame(
    [...counters.keys(), ...countersOf(here).keys()].filter((name) => xfrmCounters[name] === undefined),
    [],
  )
  for (const [name, { means, remedy }] of Object.entries(xfrmCounters)) t.ok(means && remedy, name)
  t.end()
})

test('those that move are found', (t) => {
  const before = countersOf(text)
  t.strictSame(movingCounters({ xfrm: { before, after: before } }), [], 'what happened once is not happening')
  const after = new Map([...before, ['XfrmInNoStates', 8] as const, ['XfrmOfTomorrow', 2] as const])
  t.match(movingCounters({ xfrm: { before, after } }), [
    {
      severity: 'warning',
      where: 'tunnel',
      what: /^XfrmInNoStates moves \(5 in a moment, 8 in all\): a packet of an/,
    },
    { what: /^XfrmOfTomorrow moves \(2 / },
  ])
  t.strictSame(movingCounters({ xfrm: { before: new Map(), after: new Map() } }), [], 'a kernel without')
  t.end()
})
