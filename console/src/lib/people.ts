// Names for those who act. Names are personal data: the controller tells them to whoever may see operators, and to nobody else.

import { ask, type Schemas } from "../api/client";
import { session } from "../api/session";
import { Store, useStore } from "./store";

const names = new Store<ReadonlyMap<string, string>>(new Map());
let asked: string | null = null;

function fetchNames() {
  const { operator, token } = session.get();
  if (!token || asked === token) return;
  asked = token;
  names.set(new Map());
  ask("get", "/v1/operators", { query: { limit: 1000 } })
    .then(({ body }) => {
      const all = body.items as Schemas["Operator"][];
      names.set(new Map(all.map((one) => [`person/${one.id}`, one.name ?? one.login ?? one.id])));
    })
    .catch(() => {
      const { login } = session.get();
      if (operator && login) names.set(new Map([[`person/${operator}`, login]]));
    });
}

/** Says who somebody is: `person/op-…` by name where that may be told. */
export function useNames(): (who: string) => string {
  const known = useStore(names);
  fetchNames();
  return (who) => known.get(who) ?? who;
}
