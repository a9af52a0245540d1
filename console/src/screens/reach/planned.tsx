// A plan in words: what it comes to, why it may not be set, and each path that opens or closes, as a table.

import { useState } from "react";
import { useMay } from "../../lib/may";
import { deviceAt, Link } from "../../lib/route";
import { clock, count, exact } from "../../lib/time";
import { Button, Notice, ProblemNotice } from "../../ui/kit";
import { Apply } from "./apply";
import { causeOf, compare, type Comparison, type Group, type Plan } from "./plan";

/** Rows that are shown; what is beyond is counted. */
const ROWS_MAX = 200;

export function PlanCard({ plan, onAnother, onClose }: { plan: Plan; onAnother: () => void; onClose: () => void }) {
  const { comparison } = plan;
  const may = useMay();
  const [setting, setSetting] = useState(false);
  return (
    <section className="card" aria-labelledby="plan">
      <header>
        <h2 id="plan">Plan</h2>
        <span className="quiet cut">
          {plan.name}, {count(Object.keys(plan.files).length)} files, {plan.busy ? "being compared…" : `as of ${clock(plan.at)}`}
        </span>
        <span className="space" />
        <Button disabled={plan.busy} onClick={() => void compare(plan.name, plan.files)}>
          Compare again
        </Button>
        <Button onClick={onAnother}>Another…</Button>
        <Button look="plain" onClick={onClose}>
          Leave the plan
        </Button>
        {may("policies.apply") && comparison && comparison.refused.length === 0 && (
          <Button look="main" disabled={plan.busy} onClick={() => setSetting(true)}>
            Set it…
          </Button>
        )}
      </header>
      <div className="inside" role="status">
        {plan.problem && <ProblemNotice problem={plan.problem} />}
        {comparison && <Sum it={comparison} />}
      </div>
      {setting && <Apply plan={plan} onClose={() => setSetting(false)} />}
    </section>
  );
}

function Sum({ it }: { it: Comparison }) {
  const { opened, closed, modes, refused, reach } = it;
  const nothing = opened.pairs + closed.pairs + modes.length === 0;
  return (
    <>
      {refused.length > 0 && (
        <Notice tone="bad" title={`It may not be set: ${count(refused.length)} ${refused.length === 1 ? "test, claim or budget does" : "tests, claims or budgets do"} not hold`} alert>
          <ul className="evidence">
            {refused.slice(0, 20).map((fault) => (
              <li key={`${fault.file}:${fault.line} ${fault.what}`}>
                <span className="mono">
                  {fault.file}:{fault.line}
                </span>
                : {fault.what}: {fault.why} {fault.help}
              </li>
            ))}
          </ul>
        </Notice>
      )}
      <ul className="sums">
        <li>
          <Way opens /> <strong>{count(opened.pairs)}</strong> pairs of device and service
        </li>
        <li>
          <Way /> <strong>{count(closed.pairs)}</strong>
        </li>
        {modes.map((mode) => (
          <li key={mode.zone}>
            <span className="mono">{mode.zone}</span>: {modeOf(mode.before)} → <strong>{modeOf(mode.after)}</strong> ({count(mode.devices)} devices)
          </li>
        ))}
        {reach.before && (
          <li>
            By hopping {count(reach.before.transitive_pairs)} → <strong>{count(reach.after.transitive_pairs)}</strong> pairs; one device at most {count(reach.before.transitive_max)} → <strong>{count(reach.after.transitive_max)}</strong> services
          </li>
        )}
      </ul>
      {nothing && <p>No path opens or closes: it grants what the folder in force grants.</p>}
    </>
  );
}

function modeOf(it: { mode: string; share: number } | null): string {
  if (!it) return "none";
  return it.share < 100 && it.mode === "enforce" ? `${it.mode} ${it.share} %` : it.mode;
}

/** Opens: up. Closes: down. Each stands beside a word or a number. */
export function Direction({ opens }: { opens?: boolean }) {
  return (
    <svg className="direction" aria-hidden="true" width="9" height="9" viewBox="0 0 10 10" fill={opens ? "currentColor" : "none"} stroke="currentColor" strokeWidth="1.4" strokeLinejoin="round">
      <path d={opens ? "M5 1.2L9 8.8H1z" : "M5 8.8L9 1.2H1z"} />
    </svg>
  );
}

function Way({ opens = false }: { opens?: boolean }) {
  return (
    <span className={opens ? "mark note" : "mark none"}>
      <Direction opens={opens} /> {opens ? "opens" : "closes"}
    </span>
  );
}

/** The twin of the marks in the matrix. */
export function PlanTable({ it }: { it: Comparison }) {
  const all = [...it.opened.groups.map((group) => ({ opens: true, group })), ...it.closed.groups.map((group) => ({ opens: false, group }))];
  const further = all.length - ROWS_MAX + it.opened.more_groups + it.closed.more_groups;
  if (all.length === 0 && it.exceptions.length === 0) return null;
  return (
    <section className="card" aria-labelledby="paths">
      <h2 id="paths">The plan as a table</h2>
      {all.length > 0 && <Groups groups={all.slice(0, ROWS_MAX)} />}
      {further > 0 && <p className="foot quiet">{count(further)} further groups; <code>ringfence diff -f FOLDER --all</code> lists them.</p>}
      {it.exceptions.length > 0 && (
        <ul className="inside evidence">
          {it.exceptions.map((one) => (
            <li key={`${one.id} ${one.state}`}>
              Exception <strong>{one.id}</strong> ({one.state}): {one.from} → {one.to}, of {one.owner}, until {exact(one.expires)}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Groups({ groups }: { groups: { opens: boolean; group: Group }[] }) {
  return (
    <table className="entries">
      <thead>
        <tr>
          {["It", "Devices", "Zone", "Service", "Because", "Such as"].map((name) => (
            <th scope="col" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {groups.map(({ opens, group }, number) => (
          <tr key={number}>
            <td>
              <Way opens={opens} />
            </td>
            <td>
              {count(group.devices)} {group.type}
            </td>
            <td>
              {group.zone} <span className="tag">{group.mode}</span>
            </td>
            <td>
              {group.service}{" "}
              <span className="mono quiet">
                {group.transport}/{group.port}
              </span>
            </td>
            <td className="why">{causeOf(group)}</td>
            <td className="inline">
              {group.examples.map((id, at) => (
                <span key={id}>
                  {at > 0 && ", "}
                  <Link to={deviceAt(id)}>{id}</Link>
                </span>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
