// Zone by service. A full square: all devices of the zone; a part of one: some of them; a ring or a triangle: what policies in shadow would
// change. What has no mark is denied. It is a table, so it is its own twin for who does not see it.

import { useMemo, useState } from "react";
import type { Schemas } from "../../api/client";
import { Link } from "../../lib/route";
import { count } from "../../lib/time";
import { Button } from "../../ui/kit";
import { Mark } from "../../ui/mark";

type MatrixOf = Schemas["Matrix"];
type Cell = Schemas["Cell"];

/** Columns that are drawn at once: further ones are found with the filter. */
const COLUMNS_MAX = 60;
const ROWS_MAX = 120;

export function Matrix({ matrix }: { matrix: MatrixOf }) {
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState<{ zone: number; service: number } | null>(null);
  const cells = useMemo(() => new Map(matrix.cells.map((cell) => [`${cell.zone} ${cell.service}`, cell])), [matrix]);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (text: string) => words.every((word) => text.toLowerCase().includes(word));

  // A word names zones or services, whichever there are.
  const zones = matrix.zones.map((zone, number) => ({ ...zone, number })).filter((zone) => zone.devices > 0);
  const services = matrix.services.map((service, number) => ({ ...service, number }));
  const zonesFit = zones.filter((zone) => fits(zone.id));
  const servicesFit = services.filter((service) => fits(`${service.id} ${service.name} ${service.zone}`));
  const rows = (zonesFit.length > 0 ? zonesFit : zones).slice(0, ROWS_MAX);
  const columns = (servicesFit.length > 0 ? servicesFit : services).slice(0, COLUMNS_MAX);
  const left = zones.length - rows.length + services.length - columns.length;
  const granted = matrix.cells.filter((cell) => cell.granted > 0).length;
  const all = zones.length * services.length;
  const chosen = open && cells.get(`${open.zone} ${open.service}`);
  return (
    <section className="card" aria-labelledby="matrix">
      <header>
        <h2 id="matrix">What zones may reach</h2>
        <span className="quiet">
          {count(granted)} of {count(all)} pairs are granted; everything else is denied
        </span>
        <span className="space" />
        <input className="input filter" aria-label="Filter zones and services" placeholder="filter zones and services" value={filter} onChange={(event) => setFilter(event.target.value)} />
      </header>
      <Legend />
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
                <th scope="row">
                  <Link to={`/devices?l=${encodeURIComponent(`zone=${zone.id}`)}`}>{zone.id}</Link>
                  <span className="tag">{zone.mode === "enforce" ? (zone.share < 100 ? `enforce ${zone.share} %` : "enforce") : "shadow"}</span>
                  <span className="faint">{count(zone.devices)}</span>
                </th>
                {columns.map((service) => {
                  const cell = cells.get(`${zone.number} ${service.number}`);
                  return (
                    <td key={service.id}>
                      {cell && (
                        <button
                          type="button"
                          className="cell"
                          aria-pressed={open?.zone === zone.number && open.service === service.number}
                          aria-label={`${zone.id} to ${service.name || service.id}: ${said(cell, zone.devices)}`}
                          title={said(cell, zone.devices)}
                          onClick={() => setOpen({ zone: zone.number, service: service.number })}
                        >
                          <Glyph cell={cell} devices={zone.devices} />
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
      {open && chosen && <Drill matrix={matrix} cell={chosen} onClose={() => setOpen(null)} />}
    </section>
  );
}

function said(cell: Cell, devices: number): string {
  const parts = [];
  if (cell.granted > 0) parts.push(cell.granted === devices ? `granted to all ${count(devices)}` : `granted to ${count(cell.granted)} of ${count(devices)}`);
  else parts.push("denied");
  if (cell.would_open > 0) parts.push(`shadow would open it for ${count(cell.would_open)}`);
  if (cell.would_close > 0) parts.push(`shadow would close it for ${count(cell.would_close)}`);
  return parts.join("; ");
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

function Legend() {
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
    </ul>
  );
}

function Drill({ matrix, cell, onClose }: { matrix: MatrixOf; cell: Cell; onClose: () => void }) {
  const zone = matrix.zones[cell.zone];
  const service = matrix.services[cell.service];
  if (!zone || !service) return null;
  return (
    <div className="drill" role="status">
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
          <Mark tone={cell.granted > 0 ? "good" : "none"}>{said(cell, zone.devices)}</Mark>
        </p>
        <p className="quiet">
          {cell.policies.length > 0 ? <>By {cell.policies.map((policy) => <code key={policy}>{policy} </code>)}</> : "No policy grants it."}{" "}
          {zone.mode === "shadow" && "The zone is in shadow: what is denied passes, and is counted."}
        </p>
      </div>
      <div className="actions">
        <Link className="button" to={`/devices?l=${encodeURIComponent(`zone=${zone.id}`)}`}>
          Its devices
        </Link>
        <Button onClick={onClose}>Close</Button>
      </div>
    </div>
  );
}
