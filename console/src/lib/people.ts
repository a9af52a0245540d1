// Names for those who act. Names are personal data: the controller tells them to whoever may see operators, and to nobody else.

import { ask, type Schemas } from "../api/client";
import { session } from "../api/session";
import { useMay } from "./may";
import { Store, useStore } from "./store";

const names = new Store<ReadonlyMap<string, string>>(new Map());
let asked: string | null = null;

function fetchNames() {
  const { token } = session.get();
  if (!token || asked === token) return;
  asked = token;
  ask("get", "/v1/operators", { query: { limit: 1000 } })
    .then(({ body }) => {
      const all = body.items as Schemas["Operator"][];
      names.set(new Map(all.map((one) => [`person/${one.id}`, one.name ?? one.login ?? one.id])));
    })
    .catch(() => {
      // Asked again by the next screen that names somebody.
      if (asked === token) asked = null;
    });
}

/** Says who somebody is: `person/op-…` by name where that may be told. */
export function useNames(): (who: string) => string {
  const known = useStore(names);
  const may = useMay();
  const { operator, login } = useStore(session);
  if (may("operators.read")) fetchNames();
  return (who) => (may("operators.read") ? known.get(who) : null) ?? (who === `person/${operator}` ? login : null) ?? who;
}
