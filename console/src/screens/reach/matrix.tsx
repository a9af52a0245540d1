// Zone by service. A full square: all devices of the zone; a part of one: some of them; a ring or a triangle: what policies in shadow would
// change. What has no mark is denied. It is a table, so it is its own twin for who does not see it. With a plan over it, a full triangle that
// points up says for how many devices a pair opens, an empty one that points down for how many it closes.

import { useMemo, useState } from "react";
import type { Schemas } from "../../api/client";
import { Link } from "../../lib/route";
import { SiteMark, standingOf, type Site } from "../../lib/sites";
import { count } from "../../lib/time";
import { Button } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import { inventoryAt } from "../inventory/query";
import { overlayKey, overlayOf, type Comparison, type Overlay } from "./plan";
import { Direction, Groups } from "./planned";

type MatrixOf = Schemas["Matrix"];
type Cell = Schemas["Cell"];

/** Columns that are drawn at once: further ones are found with the filter. */
const COLUMNS_MAX = 60;
const ROWS_MAX = 120;

interface Props {
  matrix: MatrixOf;
  sites: Site[];
  plan: Comparison | null;
}

/** A place in it: zones and services of a plan may be none of today's. */
interface At {
  zone: string;
  service: string;
}

export function Matrix({ matrix, sites, plan }: Props) {
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState<At | null>(null);
  const [onlyPlan, setOnlyPlan] = useState(false);
  const cells = useMemo(() => new Map(matrix.cells.map((cell) => [overlayKey(matrix.zones[cell.zone]?.id ?? "", matrix.services[cell.service]?.id ?? ""), cell])), [matrix]);
  const overlay = useMemo(() => (plan ? overlayOf(plan) : new Map<string, Overlay>()), [plan]);
  const { zones, services } = useMemo(() => withPlan(matrix, plan), [matrix, plan]);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (text: string) => words.every((word) => text.toLowerCase().includes(word));
  const planned = (find: (at: At) => boolean) => !plan || !onlyPlan || [...overlay.keys()].some((key) => find(atOf(key)));

  // A word names zones or services, whichever there are.
  const zonesFit = zones.filter((zone) => fits(zone.id));
  const servicesFit = services.filter((service) => fits(`${service.id} ${service.name} ${service.zone}`));
  const rows = (zonesFit.length > 0 ? zonesFit : zones).filter((zone) => planned((at) => at.zone === zone.id)).slice(0, ROWS_MAX);
  const columns = (servicesFit.length > 0 ? servicesFit : services).filter((service) => planned((at) => at.service === service.id)).slice(0, COLUMNS_MAX);
  const left = onlyPlan && plan ? 0 : zones.length - rows.length + services.length - columns.length;
  const granted = matrix.cells.filter((cell) => cell.granted > 0).length;
  const all = zones.length * services.length;
  return (
    <section className="card" aria-labelledby="matrix">
      <header>
        <h2 id="matrix">What zones may reach</h2>
        <span className="quiet">
          {count(granted)} of {count(all)} pairs are granted; everything else is denied
        </span>
        <span className="space" />
        {plan && (
          <label className="check">
            <input type="checkbox" checked={onlyPlan} onChange={(event) => setOnlyPlan(event.target.checked)} /> only what the plan changes
          </label>
        )}
        <input className="input filter" aria-label="Filter zones and services" placeholder="filter zones and services" value={filter} onChange={(event) => setFilter(event.target.value)} />
      </header>
      <Legend plan={plan !== null} />
      <div className="wide" tabIndex={0} role="region" aria-label="Zones and services">
        <table className="matrix">
          <thead>
            <tr>
              <th scope="col">Zone</th>
              {columns.map((service) => (
                <th scope="col" key={service.id} title={`${service.id}: ${service.transport}/${service.port} in ${service.zone}${service.sensitive ? "; sensitive" : ""}`}>
                  <span>
                    {service.name || service.id}
                    {service.sensitive && " ◆"}
                  </span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((zone) => (
              <tr key={zone.id}>
                <th scope="row" className="inline">
                  <span>
                    <Link to={inventoryAt({ l: `zone=${zone.id}` })}>{zone.id}</Link>
                    <span className="tag">{zone.mode === "enforce" ? (zone.share < 100 ? `enforce ${zone.share} %` : "enforce") : zone.mode}</span>
                    <span className="faint">{count(zone.devices)}</span>
                    <Enforced site={sites.find((site) => site.id === zone.site)} />
                  </span>
                </th>
                {columns.map((service) => {
                  const key = overlayKey(zone.id, service.id);
                  const [cell, change] = [cells.get(key), overlay.get(key)];
                  const words = said(cell, zone.devices, change);
                  return (
                    <td key={service.id}>
                      {(cell || change) && (
                        <button
                          type="button"
                          className={change ? "cell planned" : plan ? "cell behind" : "cell"}
                          aria-pressed={open?.zone === zone.id && open.service === service.id}
                          aria-label={`${zone.id} to ${service.name || service.id}: ${words}`}
                          title={words}
                          onClick={() => setOpen({ zone: zone.id, service: service.id })}
                        >
                          {change ? <PlanGlyph change={change} /> : cell && <Glyph cell={cell} devices={zone.devices} />}
                        </button>
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {left > 0 && <p className="foot quiet">{count(left)} further zones and services: filter to see them.</p>}
      {open && <Drill at={open} zones={zones} services={services} cell={cells.get(overlayKey(open.zone, open.service))} change={overlay.get(overlayKey(open.zone, open.service))} sites={sites} onClose={() => setOpen(null)} />}
    </section>
  );
}

function atOf(key: string): At {
  const [zone, service] = key.split("\n");
  return { zone: zone ?? "", service: service ?? "" };
}

type Zone = Omit<Schemas["ZoneRow"], "mode"> & { mode: string };

/** Zones that have devices and services, those of a plan among them. */
function withPlan(matrix: MatrixOf, plan: Comparison | null): { zones: Zone[]; services: Schemas["ServiceColumn"][] } {
  const zones: Zone[] = matrix.zones.filter((zone) => zone.devices > 0);
  const services = [...matrix.services];
  for (const group of plan ? [...plan.opened.groups, ...plan.closed.groups] : []) {
    if (!zones.some((zone) => zone.id === group.zone)) zones.push({ id: group.zone, mode: "of the plan", share: 100, devices: 0, site: null });
    if (!services.some((service) => service.id === group.service)) services.push({ id: group.service, name: group.service, zone: "of the plan", transport: group.transport, port: group.port, sensitive: false });
  }
  return { zones, services };
}

/** Said where it is not as intended; what is verified needs no mark in every row. */
function Enforced({ site }: { site: Site | undefined }) {
  if (!site || standingOf(site).tone === "good") return null;
  return (
    <span className="enforced">
      <SiteMark site={site} />
    </span>
  );
}

function said(cell: Cell | undefined, devices: number, change: Overlay | undefined): string {
  const parts = cell ? saidOf(cell, devices) : ["denied"];
  if (change && change.opens > 0) parts.push(`the plan opens it for ${count(change.opens)}`);
  if (change && change.closes > 0) parts.push(`the plan closes it for ${count(change.closes)}`);
  return parts.join("; ");
}

function saidOf(cell: Cell, devices: number): string[] {
  const parts = [];
  if (cell.granted > 0) parts.push(cell.granted === devices ? `granted to all ${count(devices)}` : `granted to ${count(cell.granted)} of ${count(devices)}`);
  else parts.push("denied");
  if (cell.would_open > 0) parts.push(`shadow would open it for ${count(cell.would_open)}`);
  if (cell.would_close > 0) parts.push(`shadow would close it for ${count(cell.would_close)}`);
  return parts;
}

/** `1.2k`: there is room for four signs. */
function few(n: number): string {
  return n < 1_000 ? String(n) : n < 10_000 ? `${(n / 1_000).toFixed(1)}k` : `${Math.round(n / 1_000)}k`;
}

function PlanGlyph({ change }: { change: Overlay }) {
  return (
    <span className="change" aria-hidden="true">
      {change.opens > 0 && (
        <span className="opens">
          <Direction opens />
          {few(change.opens)}
        </span>
      )}
      {change.closes > 0 && (
        <span className="closes">
          <Direction />
          {few(change.closes)}
        </span>
      )}
    </span>
  );
}

function Glyph({ cell, devices }: { cell: Cell; devices: number }) {
  const part = devices > 0 ? Math.min(1, cell.granted / devices) : 0;
  const height = 12 * part;
  return (
    <svg aria-hidden="true" width="18" height="18" viewBox="0 0 18 18">
      {cell.granted > 0 && (
        <>
          <rect x="3" y="3" width="12" height="12" rx="2" fill="none" stroke="var(--accent)" strokeWidth="1.4" />
          <rect x="3" y={15 - height} width="12" height={height} rx={part === 1 ? 2 : 0} fill="var(--accent)" />
        </>
      )}
      {cell.would_open > 0 && <circle cx="9" cy="9" r="4" fill="none" stroke={cell.granted > 0 ? "var(--ground)" : "var(--note)"} strokeWidth="1.8" />}
      {cell.would_close > 0 && <path d="M9 5l4.5 8h-9z" fill="var(--note)" stroke="var(--ground)" strokeWidth="1" />}
    </svg>
  );
}

function Legend({ plan }: { plan: boolean }) {
  const cell = (some: Partial<Cell>): Cell => ({ zone: 0, service: 0, granted: 0, would_close: 0, would_open: 0, policies: [], ...some });
  return (
    <ul className="legend">
      <li>
        <Glyph cell={cell({ granted: 2 })} devices={2} /> all devices of the zone
      </li>
      <li>
        <Glyph cell={cell({ granted: 1 })} devices={2} /> some of them
      </li>
      <li>
        <Glyph cell={cell({ would_open: 1 })} devices={2} /> shadow would open
      </li>
      <li>
        <Glyph cell={cell({ granted: 2, would_close: 1 })} devices={2} /> shadow would close
      </li>
      <li>◆ sensitive: not without an owner</li>
      {plan && (
        <>
          <li className="opens">
            <Direction opens /> devices that the plan opens it for
          </li>
          <li className="closes">
            <Direction /> that it closes it for
          </li>
        </>
      )}
    </ul>
  );
}

interface DrillProps {
  at: At;
  zones: Zone[];
  services: Schemas["ServiceColumn"][];
  cell: Cell | undefined;
  change: Overlay | undefined;
  sites: Site[];
  onClose: () => void;
}

function Drill({ at, zones, services, cell, change, sites, onClose }: DrillProps) {
  const zone = zones.find(({ id }) => id === at.zone);
  const service = services.find(({ id }) => id === at.service);
  if (!zone || !service) return null;
  const site = sites.find(({ id }) => id === zone.site);
  return (
    <div className="drilled" role="status">
      <div className="drill">
        <div>
          <p>
            <strong>
              {zone.id} → {service.name || service.id}
            </strong>{" "}
            <span className="quiet mono">
              {service.transport}/{service.port}
            </span>
          </p>
          <p>
            <Mark tone={cell && cell.granted > 0 ? "good" : "none"}>{said(cell, zone.devices, change)}</Mark>
          </p>
          <p className="quiet">
            {cell && cell.policies.length > 0 ? <>By {cell.policies.map((policy) => <code key={policy}>{policy} </code>)}</> : "No policy grants it."} {zone.mode === "shadow" && "The zone is in shadow: what is denied passes, and is counted."}
          </p>
          {site && (
            <p className="quiet">
              At {site.name}: <SiteMark site={site} />. {standingOf(site).why}
            </p>
          )}
        </div>
        <div className="actions">
          <Link className="button" to={inventoryAt({ l: `zone=${zone.id}` })}>
            Its devices
          </Link>
          <Button onClick={onClose}>Close</Button>
        </div>
      </div>
      {change && <Groups groups={change.groups} />}
    </div>
  );
}
