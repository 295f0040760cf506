/** Where the engine listens: Docker's variables and our keys. */
import { test } from 'tap'
import { engineEndpoint } from '../../docker/endpoint.ts'

test('sockets', async (t) => {
  t.strictSame(engineEndpoint({}), { is: 'socket', path: '/var/run/docker.sock' })
  t.strictSame(engineEndpoint({ DOCKER_HOST: '' }), { is: 'socket', path: '/var/run/docker.sock' })
  t.strictSame(engineEndpoint({ DOCKER_HOST: 'unix:///run/d.sock' }), { is: 'socket', path: '/run/d.sock' })
  t.strictSame(engineEndpoint({ DOCKER_HOST: 'unix:///a' }, { host: '/b' }), { is: 'socket', path: '/b' })
})

test('TCP with and without TLS', async (t) => {
  const plain = { is: 'tcp', host: '10.0.0.1', port: 2375, tls: undefined }
  t.strictSame(engineEndpoint({ DOCKER_HOST: 'tcp://10.0.0.1' }), plain)
  const variables = { DOCKER_HOST: 'tcp://engine:1234', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' }
  const files = { ca: '/certs/ca.pem', cert: '/certs/cert.pem', key: '/certs/key.pem' }
  t.strictSame(engineEndpoint(variables), { is: 'tcp', host: 'engine', port: 1234, tls: files })
  const home = engineEndpoint({ DOCKER_HOST: 'tcp://e', DOCKER_TLS_VERIFY: '1', HOME: '/root' })
  t.match(home, { port: 2376, tls: { ca: '/root/.docker/ca.pem' } })
  const own = { ca: '/ca', cert: '/cert', key: '/key' }
  t.match(engineEndpoint(variables, { tls: own }), { tls: own })
  t.match(engineEndpoint({ DOCKER_HOST: 'tcp://[::1]:2376' }), { host: '::1', port: 2376 })
})

test('what cannot be used says why', async (t) => {
  for (const host of [
    'ssh://me@there',
    'npipe:////./pipe',
    'tcp://',
    'tcp://a:99999',
    'unix://',
    'tcp://a:b',
    '\n',
  ])
    t.match(engineEndpoint({ DOCKER_HOST: host }), { is: 'unusable', why: /neither/ }, host)
})
