/**
 * AppArmor's profiles for strongSwan keep charon and swanctl out of Drover's folders. Pure.
 */
import { type Finding, warningIn } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

const strongSwan = /\/(charon-systemd|charon|swanctl)$/

/** Names of profiles that are enforced, of the text of /sys/kernel/security/apparmor/profiles. */
export const enforcedProfiles = (text: string): readonly string[] =>
  text.split('\n').flatMap((line) => /^(.+) \(enforce\)$/.exec(line)?.[1] ?? [])

export const appArmor = ({
  appArmor: { enforced, ipsec },
}: Pick<MachineFacts, 'appArmor'>): readonly Finding[] =>
  ipsec
    ? enforced
        .filter((profile) => strongSwan.test(profile))
        .map((profile) =>
          warningIn(
            'tunnel',
            `AppArmor confines ${profile}, which then cannot read Drover's folders: IPsec cannot be set up`,
            `aa-complain ${profile} (package apparmor-utils), or allow its folders in /etc/apparmor.d/local/; WireGuard carries meanwhile`,
          ),
        )
    : []
