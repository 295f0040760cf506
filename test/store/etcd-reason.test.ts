/** Why etcd is not there: what gRPC, Node and OpenSSL say, in one line for an operator. */
import { test } from 'tap'
import { etcdReason } from '../../store/etcd-reason.ts'

const unavailable = (last: string): Error =>
  new Error(
    `14 UNAVAILABLE: No connection established. Last error: ${last} (2026-11-28T15:39:05.870Z). Resolution note: `,
  )

test('what is wrong with TLS is told by what to mend', (t) => {
  const alert =
    '4073DB6BD97F0000:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:918:SSL alert number 42\n'
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      alert,
      /^it does not accept the certificate that this host shows .*store\.cert.*: alert bad certificate$/,
    ],
    ['tlsv13 alert certificate required:x', /alert certificate required$/],
    ['tlsv1 alert unknown ca:x', /alert unknown ca$/],
    ['Error: unable to verify the first certificate; if the root CA', /^its .*store\.ca\): unable to verify/],
    ['Error: self-signed certificate in certificate chain', /^its .*store\.ca/],
    [
      "Error: Hostname/IP does not match certificate's altnames: IP: 192.0.2.1 is not in the cert's list: ",
      /^its certificate does not name this address: .*192\.0\.2\.1 is not in/,
    ],
    ['Error: certificate has expired', /^its certificate is not valid now: certificate has expired$/],
    ['connect ECONNREFUSED 192.0.2.1:2379', /^connect ECONNREFUSED 192\.0\.2\.1:2379$/],
  ]
  for (const [last, line] of cases) t.match(etcdReason(unavailable(last)), line)
  t.equal(etcdReason(new Error('4 DEADLINE_EXCEEDED:\n too late ')), '4 DEADLINE_EXCEEDED: too late')
  t.equal(etcdReason('silent'), 'silent')
  t.end()
})
