// Who may reach what: zone by service, as a picture of zones, the devices from which somebody gets furthest, and what of it is enforced. One
// question: can this reach that, and why? And what another policy folder would change of it.

import { useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { useLoaded, type Loaded } from "../../lib/load";
import { useMay } from "../../lib/may";
import { go, Link, usePlace } from "../../lib/route";
import { useSites } from "../../lib/sites";
import { useStore } from "../../lib/store";
import { clock } from "../../lib/time";
import { Button, ProblemNotice } from "../../ui/kit";
import { Choose } from "./choose";
import { MapView } from "./map";
import { Matrix } from "./matrix";
import { plan as store } from "./plan";
import { PlanCard, PlanTable } from "./planned";
import { Enforcement } from "./sites";
import { WhyCard } from "./why";
import { Worst } from "./worst";
import "../../styles/reach.css";

const VIEWS = [
  ["matrix", "Zones and services"],
  ["map", "Map"],
  ["worst", "If taken over"],
  ["enforcement", "Enforcement"],
] as const;

const PACE = 5_000;

/** What is granted follows from devices, policy and leases; a question over all of it is not asked for every sign of life. */
export function useReach<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  return useLoaded(key, load, (change) => change.events.some(({ area }) => area === "policy" || area === "lease"), PACE);
}

export default function Reach() {
  const { query } = usePlace();
  const view = VIEWS.find(([word]) => word === query.get("view"))?.[0] ?? "matrix";
  const [device, service] = [query.get("device") ?? "", query.get("service") ?? ""];
  const matrix = useReach("matrix", async (signal) => (await ask("get", "/v1/reach/matrix", { signal })).body);
  const plan = useStore(store);
  const sites = useSites();
  const may = useMay();
  const [choosing, setChoosing] = useState(false);
  const at = (some: Record<string, string>) => {
    const next = new URLSearchParams({ ...Object.fromEntries(query), ...some });
    for (const [name, value] of [...next]) if (value === "") next.delete(name);
    return next.size > 0 ? `/reach?${next}` : "/reach";
  };
  const none = matrix.problem?.code === "policy.none";
  return (
    <>
      <header className="bar">
        <h1>Reach</h1>
        <nav className="views" aria-label="Ways to look">
          {VIEWS.map(([word, name]) => (
            <Link key={word} to={at({ view: word === "matrix" ? "" : word })} aria-current={view === word ? "page" : undefined}>
              {name}
            </Link>
          ))}
        </nav>
        <span className="space" />
        {may("policies.plan") && !none && <Button onClick={() => setChoosing(true)}>Plan…</Button>}
        <Question key={`${device} ${service}`} device={device} service={service} services={matrix.value?.services ?? []} onAsk={(device, service) => go(at({ device, service }))} />
      </header>
      <div className="scroll sheet" tabIndex={0} role="region" aria-label="Reach">
        {matrix.problem && !none && <ProblemNotice problem={matrix.problem} />}
        {device && service && <WhyCard key={`${device} ${service}`} device={device} service={service} onClose={() => go(at({ device: "", service: "" }))} />}
        {none && view !== "enforcement" && (
          <div className="empty">
            <h2>Nothing reaches anything yet</h2>
            <p>No policy folder was set, so nothing is granted. On a machine with the command line:</p>
            <pre tabIndex={0}>{`ringfence inspect FILE.pcap --policy-out policy/   # or a folder of yours\nringfence apply -f policy/ --reason "the first folder"`}</pre>
          </div>
        )}
        {plan && view === "matrix" && <PlanCard plan={plan} onAnother={() => setChoosing(true)} onClose={() => store.set(null)} />}
        {!none && view === "matrix" && matrix.value && <Matrix matrix={matrix.value} sites={sites.value ?? []} plan={plan?.comparison ?? null} />}
        {plan?.comparison && view === "matrix" && <PlanTable it={plan.comparison} />}
        {!none && view === "map" && <MapView />}
        {!none && view === "worst" && <Worst />}
        {view === "enforcement" && <Enforcement zones={matrix.value?.zones.filter((zone) => zone.devices > 0) ?? []} />}
        {matrix.value && (
          <p className="faint">
            As of {clock(matrix.value.as_of.at)}, {matrix.value.as_of.entries} journal entries, policy <span className="mono">{matrix.value.as_of.policy.slice(0, 12)}</span>
          </p>
        )}
      </div>
      {choosing && <Choose onClose={() => setChoosing(false)} />}
    </>
  );
}

/** Can this reach that? */
function Question({ device, service, services, onAsk }: { device: string; service: string; services: Schemas["ServiceColumn"][]; onAsk: (device: string, service: string) => void }) {
  const [from, setFrom] = useState(device);
  const [to, setTo] = useState(service);
  return (
    <form
      className="question"
      role="search"
      aria-label="Can a device reach a service?"
      onSubmit={(event) => {
        event.preventDefault();
        if (from.trim() && to) onAsk(from.trim(), to);
      }}
    >
      <span className="quiet">Can</span>
      <input data-find className="input mono" aria-label="Device" placeholder="id of a device" autoComplete="off" spellCheck={false} value={from} onChange={(event) => setFrom(event.target.value)} />
      <span className="quiet">reach</span>
      <select className="input" aria-label="Service" value={to} onChange={(event) => setTo(event.target.value)}>
        <option value="">a service</option>
        {services.map((one) => (
          <option key={one.id} value={one.id}>
            {one.name || one.id}
          </option>
        ))}
      </select>
      <Button type="submit" disabled={!from.trim() || !to}>
        Ask
      </Button>
    </form>
  );
}
