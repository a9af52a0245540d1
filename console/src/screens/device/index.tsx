// One device: what it is and how that is known, what it is granted and why, what happened to it, and what can be done about it.

import { useState } from "react";
import { ask, Refused, type WholeDevice } from "../../api/client";
import type { Change } from "../../api/live";
import { Link, usePlace } from "../../lib/route";
import { useLoaded } from "../../lib/load";
import { useMay } from "../../lib/may";
import { SiteStanding } from "../../lib/sites";
import { Button, Menu, ProblemNotice, Time } from "../../ui/kit";
import { Mark, toneOf } from "../../ui/mark";
import { nameOf } from "../inventory/columns";
import { Act, type Deed } from "./act";
import { Beliefs, Identifiers } from "./beliefs";
import { DecisionCard, useDecision } from "./decision";
import { useFlows } from "./flows";
import { IdentityCard } from "./identity";
import { ReachCard } from "./reach";
import { Timeline } from "./timeline";
import { Traffic } from "./traffic";
import "../../styles/device.css";

/** Whether a change may be about a device. */
function about(id: string): (change: Change) => boolean {
  return (change) => change.events.some(({ event }) => JSON.stringify(event).includes(JSON.stringify(id)));
}

export default function DeviceScreen() {
  const { parts } = usePlace();
  const id = parts.slice(1).join("/");
  const concerns = about(id);
  const device = useLoaded(id, async (signal) => (await ask("get", "/v1/devices/{id}", { path: { id }, signal })).body as WholeDevice, concerns);
  const decision = useDecision(id, concerns);
  const flows = useFlows(id);
  const may = useMay();
  const [deed, setDeed] = useState<Deed | null>(null);

  if (!device.value) {
    if (!device.problem) return <p className="hidden">Loading…</p>;
    const unknown = device.problem.status === 404;
    return (
      <div className="empty">
        {unknown ? (
          <>
            <h1>There is no device with this id</h1>
            <p>
              <code>{id}</code> is not in the estate, or at a site that you may not see. Ids are exact, with capitals.
            </p>
          </>
        ) : (
          <>
            <h1>{id}</h1>
            <ProblemNotice problem={device.problem} />
          </>
        )}
        <Link className="button" to="/devices">
          Go to the inventory
        </Link>
      </div>
    );
  }
  const it = device.value;
  const quarantined = it.posture?.value === "quarantined";
  const retired = it.state === "retired";
  return (
    <>
      <header className="bar">
        <Link className="quiet" to="/devices">
          Inventory
        </Link>
        <span className="faint" aria-hidden="true">
          /
        </span>
        <h1 className="cut">{nameOf(it)}</h1>
        {nameOf(it) !== it.id && <code className="quiet cut">{it.id}</code>}
        <span className="space" />
        {may("devices.edit") && (
          <Button disabled={retired} onClick={() => setDeed({ kind: "edit" })}>
            Edit…
          </Button>
        )}
        {may("devices.quarantine") &&
          (quarantined ? (
            <Button onClick={() => setDeed({ kind: "release" })}>Release…</Button>
          ) : (
            <Button look="grave" disabled={retired} onClick={() => setDeed({ kind: "quarantine" })}>
              Quarantine…
            </Button>
          ))}
        {may("devices.edit") && (
          <Menu label="More" icon="down">
            <button type="button" data-close disabled={retired} onClick={() => setDeed({ kind: "retire" })}>
              Retire…
            </button>
          </Menu>
        )}
      </header>
      <div className="scroll sheet" tabIndex={0} role="region" aria-label={nameOf(it)}>
        {device.problem && <ProblemNotice problem={device.problem} />}
        <dl className="summary">
          <Fact name="State">
            <Mark tone={toneOf(it.state)}>{it.state}</Mark>
          </Fact>
          <Fact name="Posture">{it.posture ? <Mark tone={toneOf(it.posture.value)}>{it.posture.value}</Mark> : <span className="quiet">nobody said</span>}</Fact>
          <Fact name="Granted">
            {decision.value ? (
              decision.value.decision.verdict.verdict === "granted" ? (
                <Mark tone="good">
                  {decision.value.decision.verdict.services} {decision.value.decision.verdict.services === 1 ? "service" : "services"}
                </Mark>
              ) : (
                <Mark tone="bad">nothing</Mark>
              )
            ) : (
              <Mark tone="none">nothing yet</Mark>
            )}
          </Fact>
          <Fact name="Owner">{it.owner?.value ?? <Mark tone="note">no owner</Mark>}</Fact>
          <Fact name="Zone">{it.zone?.value ?? <Mark tone="note">no zone</Mark>}</Fact>
          <Fact name="Site">{it.site}</Fact>
          <Fact name="In force there">
            <SiteStanding id={it.site} />
          </Fact>
          <Fact name="Last seen">
            <Time at={it.last_seen} />
          </Fact>
        </dl>
        <div className="two">
          <div className="stack">
            <Beliefs device={it} />
            <IdentityCard id={it.id} concerns={concerns} />
            <Identifiers device={it} />
          </div>
          <div className="stack">
            <DecisionCard decision={decision} hasZone={!!it.zone} />
            {it.zone && !retired && <ReachCard id={it.id} concerns={concerns} />}
            <Traffic flows={flows} />
            <Timeline id={it.id} concerns={concerns} decided={decision.value} flows={flows} />
          </div>
        </div>
      </div>
      {deed && <Act device={it} deed={deed} onClose={() => setDeed(null)} onDone={device.again} />}
    </>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="cut">{children}</dd>
    </div>
  );
}

/** A refusal that says that something does not exist. */
export function isNothing(error: unknown): boolean {
  return error instanceof Refused && error.problem.status === 404;
}
