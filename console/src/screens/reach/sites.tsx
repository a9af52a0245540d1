// What is enforced, and whether that was looked at: for each site what is intended, what its kernel took, what was read back; for each zone
// whether it is in shadow.

import type { Schemas } from "../../api/client";
import { Link } from "../../lib/route";
import { SiteMark, standingOf, useSites } from "../../lib/sites";
import { count } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import { inventoryAt } from "../inventory/query";

export function Enforcement({ zones }: { zones: Schemas["ZoneRow"][] }) {
  const sites = useSites();
  if (sites.problem && !sites.value) return <ProblemNotice problem={sites.problem} />;
  return (
    <>
      <section className="card" aria-labelledby="sites">
        <h2 id="sites">What sites enforce</h2>
        <table className="entries">
          <thead>
            <tr>
              {["Site", "Line", "Devices", "Intended", "Applied", "Verified", "Stands", "What that means"].map((name) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sites.value?.map((site) => {
              const { intended, why } = standingOf(site);
              return (
                <tr key={site.id}>
                  <td>
                    {site.name} <span className="mono quiet">{site.id}</span>
                  </td>
                  <td>{site.state === "enrolled" ? <Mark tone={site.connected ? "good" : "note"}>{site.connected ? "connected" : "away"}</Mark> : <span className="faint">none</span>}</td>
                  <td>
                    <Link to={inventoryAt({ l: `site=${site.id}` })}>{count(site.devices)}</Link>
                  </td>
                  <td>{intended ?? <span className="faint">–</span>}</td>
                  <td>{site.applied ?? <span className="faint">–</span>}</td>
                  <td>{site.verified ?? <span className="faint">–</span>}</td>
                  <td>
                    <SiteMark site={site} />
                  </td>
                  <td className="quiet why">{why}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
        {sites.value?.length === 0 && <p className="foot quiet">There is no site yet.</p>}
      </section>
      <section className="card" aria-labelledby="modes">
        <h2 id="modes">Shadow and enforce</h2>
        <table className="entries">
          <thead>
            <tr>
              {["Zone", "Devices", "Mode", "What that means"].map((name) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {zones.map((zone) => (
              <tr key={zone.id}>
                <td>
                  <Link to={inventoryAt({ l: `zone=${zone.id}` })}>{zone.id}</Link>
                </td>
                <td>{count(zone.devices)}</td>
                <td>
                  <Mark tone={zone.mode === "enforce" ? (zone.share < 100 ? "note" : "good") : "note"}>{zone.mode === "enforce" && zone.share < 100 ? `enforce for ${zone.share} %` : zone.mode}</Mark>
                </td>
                <td className="quiet">{zone.mode === "enforce" ? (zone.share < 100 ? `What is denied is dropped for ${zone.share} % of its devices; for the others it passes and is counted.` : "What is denied is dropped.") : "What is denied passes, and is counted."}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}
