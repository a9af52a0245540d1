// What whoever is signed in may do, so that nothing else is offered. The controller decides all the same: this asks nobody to try.

import { ask, type Schemas } from "../api/client";
import { session } from "../api/session";
import { Store, useStore } from "./store";

/** What the console offers, in the controller's words: at the sites of whoever asks, or to the estate as a whole. */
const OFFERED = {
  "devices.edit": "sites",
  "devices.import": "sites",
  "devices.quarantine": "sites",
  "identities.edit": "sites",
  "views.edit": "estate",
  "exceptions.edit": "sites",
  "policies.plan": "estate",
  "policies.apply": "estate",
  "approvals.decide": "sites",
  "operators.read": "estate",
} as const;

export type Deed = keyof typeof OFFERED;

export type Myself = Schemas["Myself"];

/** What was answered, and to which session: another one is somebody else's. */
const known = new Store<{ token: string; me: Myself } | null>(null);
let asked: string | null = null;

/** Who is signed in; `null`: not known yet. */
export function useMyself(): Myself | null {
  const answered = useStore(known);
  const { token } = useStore(session);
  if (token && asked !== token) {
    asked = token;
    ask("get", "/v1/whoami", {})
      .then(({ body }) => known.set({ token, me: body }))
      .catch(() => {
        // Asked again by whoever wants to know next.
        if (asked === token) asked = null;
      });
  }
  return answered?.token === token ? answered.me : null;
}

export function useMay(): (deed: Deed) => boolean {
  const me = useMyself();
  return (deed) => me !== null && (OFFERED[deed] === "sites" ? me.may : me.may_everywhere).includes(deed);
}
