// How far a device reaches: what it is granted, and where somebody gets who takes it over.

import { ask, type Schemas } from "../../api/client";
import type { Change } from "../../api/live";
import { useLoaded } from "../../lib/load";
import { deviceAt, Link } from "../../lib/route";
import { count } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";

/** Devices that are named. */
const NAMED = 12;

export function ReachCard({ id, concerns }: { id: string; concerns: (change: Change) => boolean }) {
  const { value, problem } = useLoaded(`reach ${id}`, async (signal) => (await ask("get", "/v1/reach/devices/{id}", { path: { id }, signal })).body, concerns);
  // In no zone, or no policy yet: that is said above.
  if (problem && problem.status === 404) return null;
  return (
    <section className="card" aria-labelledby="reach">
      <h2 id="reach">If somebody takes it over</h2>
      <div className="inside">
        {problem && <ProblemNotice problem={problem} />}
        {value && <Steps reached={value} />}
      </div>
    </section>
  );
}

function Steps({ reached }: { reached: Schemas["Reached"] }) {
  const { taken_over: steps, taken_over_devices: devices, taken_over_services: services } = reached;
  return (
    <>
      <p>
        <Mark tone={devices === 0 ? "good" : "note"}>
          <strong>
            {devices === 0 ? "It leads to no other device" : `${count(devices)} ${devices === 1 ? "device" : "devices"} and ${count(services)} ${services === 1 ? "service" : "services"} can be reached from it, hop by hop`}
          </strong>
        </Mark>
      </p>
      <ul className="grounds">
        {steps.slice(0, NAMED).map((step) => (
          <li key={step.device}>
            <span className="quiet">
              {step.hops} {step.hops === 1 ? "hop" : "hops"}
            </span>
            <span className="cut inline">
              <Link to={deviceAt(step.device)}>{step.device}</Link> <span className="quiet">through {step.through}</span>
            </span>
            <span className="faint">{step.policy}</span>
          </li>
        ))}
        {devices > NAMED && <li className="quiet">and {count(devices - NAMED)} further ones</li>}
      </ul>
    </>
  );
}
