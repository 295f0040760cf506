/**
 * The closed table of errors. docs/errors.md lists the same rows.
 */
import type { ErrorRow } from './error-row.ts'
import { trustErrors } from './trust-errors.ts'
import { tunnelErrors } from './tunnel-errors.ts'

export const errorTable = {
  CONFIG_UNREADABLE: {
    culprit: 'operator',
    says: 'the configuration file cannot be read',
    remedy: 'check the path and its permissions, or leave --config out to run on defaults',
  },
  CONFIG_INVALID: {
    culprit: 'operator',
    says: 'the configuration is not valid',
    remedy: 'mend the key named here; docs/configuration.md lists all keys',
  },
  STATE_UNUSABLE: {
    culprit: 'operator',
    says: 'the state folder cannot be used',
    remedy:
      'check its permissions; restore a damaged file from a backup, or remove it and run `drover init` again',
  },
  ENVIRONMENT_DIFFERS: {
    culprit: 'operator',
    says: 'the environment in the store is not what was asked for',
    remedy: 'leave --subnet out, or choose another name with --name',
  },
  SUBNET_TAKEN: {
    culprit: 'operator',
    says: 'the subnet overlaps a network that this machine already has',
    remedy: 'choose another with --subnet',
  },
  SYSTEM_MISSING: {
    culprit: 'operator',
    says: 'this machine lacks something that Drover needs',
    remedy: 'install it with the command named here',
  },
  NOT_ROOT: { culprit: 'operator', says: 'this needs root', remedy: 'run it with sudo' },
  DAEMON_UNREACHABLE: {
    culprit: 'operator',
    says: 'the daemon does not answer',
    remedy: 'start it with `systemctl start drover` or `npm start`, or name its socket with --admin',
  },
  DAEMON_RUNNING: {
    culprit: 'operator',
    says: 'another daemon already serves this admin socket',
    remedy: 'stop it first, or give this one its own `run` folder',
  },
  DAEMON_REPLACE: { culprit: 'operator', says: 'the daemon was not replaced', remedy: 'mend what is named' },
  DAEMON_REFUSED: { culprit: 'operator', says: 'the daemon refused', remedy: 'see its log for more' },
  ENVIRONMENT_MISSING: {
    culprit: 'operator',
    says: 'this machine has not joined an environment',
    remedy: 'run `drover init` on the first host, `drover join TOKEN` on every other',
  },
  ENVIRONMENT_EXISTS: {
    culprit: 'operator',
    says: 'this machine already belongs to an environment',
    remedy: 'use it as it is, or `drover daemon --leave` first',
  },
  USAGE: { culprit: 'operator', says: 'the command line is not valid', remedy: 'see `drover --help`' },
  NOT_NOW: {
    culprit: 'operator',
    says: 'this cannot be done as things are',
    remedy: 'do first what is named here',
  },
  LISTEN_FAILED: {
    culprit: 'operator',
    says: 'an address to listen on cannot be had',
    remedy: 'stop what holds the port, or choose another in the configuration',
  },
  COMMAND_FAILED: {
    culprit: 'us',
    says: 'a system command failed',
    remedy: 'report it together with the command and its output',
  },
  STORE_UNAVAILABLE: {
    culprit: 'retry',
    says: 'the store does not answer',
    remedy:
      'check that etcd runs at the address named here and can be reached; a running daemon tries again by itself',
  },
  STORE_CORRUPT: {
    culprit: 'operator',
    says: 'the store file is damaged',
    remedy: 'restore it from a backup, or move it away and run `drover init` again',
  },
  STORE_BUSY: {
    culprit: 'operator',
    says: 'another process has the store file open',
    remedy: 'stop the daemon first',
  },
  DISK_FULL: {
    culprit: 'retry',
    says: 'the disk is full',
    remedy: 'make room: nothing is lost, and a running daemon tries again by itself',
  },
  STORE_UNREADABLE: {
    culprit: 'operator',
    says: 'the store file cannot be opened',
    remedy: 'check the path named here and its permissions',
  },
  STORE_URL: {
    culprit: 'operator',
    says: 'the address of the store is not valid',
    remedy: 'write `embedded` or `etcd://host:2379,host:2379`',
  },
  STORE_REFUSED: {
    culprit: 'operator',
    says: 'the store refuses this host',
    remedy: 'check store.user and store.password, and what that user may do in etcd',
  },
  STORE_NOT_EMPTY: {
    culprit: 'operator',
    says: 'the target store already holds this environment',
    remedy: 'choose another etcd, or remove what is under the prefix named here',
  },
  STORE_COPY_FAILED: {
    culprit: 'operator',
    says: 'the copy of the store is not equal to its source',
    remedy: 'run the command again while nothing else uses the two stores',
  },
  STORE_MISUSED: {
    culprit: 'us',
    says: 'a transaction is not valid',
    remedy: 'report it together with what led to it',
  },
  IDENTITY_DAMAGED: {
    culprit: 'operator',
    says: 'the identity of this host cannot be read',
    remedy: 'restore the file named here from a backup, or move it away to enter as a new host',
  },
  ENVIRONMENT_TAKEN: {
    culprit: 'operator',
    says: 'the store already holds an environment of this name',
    remedy:
      'let this machine in with `drover join TOKEN` (`drover token create` on the first host prints one), or choose another --name',
  },
  ...trustErrors,
  SERVICE_INVALID: {
    culprit: 'operator',
    says: 'the declaration of services is not valid',
    remedy: 'mend what is named here; docs/services.md shows every key. Nothing was changed',
  },
  RECORD_INVALID: {
    culprit: 'peer',
    says: 'a record in the store does not verify',
    remedy: 'find out who wrote it; Drover ignores it',
  },
  ADDRESS_SPACE_FULL: {
    culprit: 'retry',
    says: 'no address is free',
    remedy: 'remove containers that are no longer needed, or use a larger subnet',
  },
  ADDRESS_REFUSED: {
    culprit: 'operator',
    says: 'the requested address cannot be had',
    remedy: 'ask for another one, or for none',
  },
  ENGINE_UNAVAILABLE: {
    culprit: 'retry',
    says: 'the Docker engine does not answer',
    remedy: 'nothing: Drover retries; start Docker if it is stopped',
  },
  ATTACH_FAILED: {
    culprit: 'retry',
    says: 'a container could not be attached',
    remedy: 'nothing: Drover retries; the cause is named here',
  },
  DNS_ADDRESS: {
    culprit: 'operator',
    says: 'DNS cannot listen on its address',
    remedy:
      'put the address on an interface (Drover puts it on lo), end what holds the port, or set dns.port',
  },
  ...tunnelErrors,
} as const satisfies Record<string, ErrorRow>
