// What whoever is signed in may do, so that nothing else is offered. The controller decides all the same: this asks nobody to try.

import { ask, type Schemas } from "../api/client";
import { session } from "../api/session";
import { Store, useStore } from "./store";

/** The least role for what the console offers, as in `policies/rbac/rbac.cedar`. */
const LEAST = {
  "devices.edit": "operator",
  "devices.import": "operator",
  "devices.quarantine": "security-admin",
  "views.edit": "operator",
  "policies.plan": "operator",
  "approvals.decide": "operator",
  "operators.read": "admin",
} as const;

export type Deed = keyof typeof LEAST;

/** What is not about a site's devices takes somebody who is for all sites. */
const EVERYWHERE: readonly Deed[] = ["views.edit", "policies.plan", "operators.read"];

/** Roles that a role builds on. */
const BELOW: Record<string, string[]> = {
  admin: ["policy-admin", "security-admin"],
  "policy-admin": ["operator"],
  "security-admin": ["operator"],
  operator: ["viewer"],
};

/** Whether somebody with these roles may do all that the other one may. */
export function covers(roles: string[], role: string): boolean {
  return roles.some((one) => one === role || covers(BELOW[one] ?? [], role));
}

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
  return (deed) => me !== null && covers(me.roles, LEAST[deed]) && (!me.sites || !EVERYWHERE.includes(deed));
}
