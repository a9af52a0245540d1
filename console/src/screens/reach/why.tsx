// Why a device may open a service, or may not: the rule that decides, or the nearest one and what differs.

import { ask } from "../../api/client";
import { deviceAt, Link } from "../../lib/route";
import { IconButton, ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import { exact } from "../../lib/time";
import { useReach } from ".";

interface Place {
  rule: string;
  file: string;
  line: number;
}

/** `policy::why::Explanation`. */
interface Explanation {
  device: string;
  service: string;
  transport: string;
  port: number;
  allowed: boolean;
  decided: ({ kind: "permit" } & Place) | ({ kind: "forbid" } & Place) | { kind: "exception"; id: string; owner: string; expires: string; line: number } | { kind: "default" } | { kind: "no-service" };
  nearest: { rule: Place; differs: { field: string; wants: string; has: string }[] } | null;
  terms: Record<string, string>;
  would_close: Place[];
  would_open: Place[];
  mode: string;
}

export function WhyCard({ device, service, onClose }: { device: string; service: string; onClose: () => void }) {
  const { value, problem } = useReach(`why ${device} ${service}`, async (signal) => (await ask("get", "/v1/reach/why", { query: { device, service }, signal })).body as unknown as Explanation);
  return (
    <section className="card" aria-labelledby="why">
      <header>
        <h2 id="why" className="inline">
          <Link to={deviceAt(device)}>{device}</Link> → {service}
        </h2>
        <span className="space" />
        <IconButton icon="close" label="Close the answer" onClick={onClose} />
      </header>
      <div className="inside" role="status">
        {problem && <ProblemNotice problem={problem} />}
        {value && <Answer it={value} />}
      </div>
    </section>
  );
}

function Where({ place }: { place: Place }) {
  return (
    <span>
      <strong>{place.rule}</strong>{" "}
      <span className="mono quiet">
        {place.file}:{place.line}
      </span>
    </span>
  );
}

function Answer({ it }: { it: Explanation }) {
  const { decided, nearest } = it;
  const terms = Object.entries(it.terms);
  return (
    <>
      <p>
        <Mark tone={it.allowed ? "good" : "bad"}>
          <strong>
            {it.allowed ? "Yes" : "No"}, {it.transport}/{it.port} is {it.allowed ? "permitted" : "denied"}
          </strong>
        </Mark>{" "}
        {!it.allowed && it.mode === "shadow" && <span className="quiet">Its zone is in shadow: the packet passes, and is counted.</span>}
      </p>
      <p>
        {decided.kind === "permit" && (
          <>
            Permitted by <Where place={decided} />
          </>
        )}
        {decided.kind === "forbid" && (
          <>
            Forbidden by <Where place={decided} />, whatever permits it
          </>
        )}
        {decided.kind === "exception" && (
          <>
            Granted by the exception <strong>{decided.id}</strong> of {decided.owner}, until {exact(decided.expires)}
          </>
        )}
        {decided.kind === "default" && "No policy permits it, and what none permits is denied."}
        {decided.kind === "no-service" && "Nothing is offered there."}
      </p>
      {nearest && (
        <>
          <p>
            Nearest is <Where place={nearest.rule} />. It would, if:
          </p>
          <table className="differs">
            <thead>
              <tr>
                <th scope="col">Field</th>
                <th scope="col">It asks for</th>
                <th scope="col">There is</th>
              </tr>
            </thead>
            <tbody>
              {nearest.differs.map(({ field, wants, has }) => (
                <tr key={field}>
                  <td>{field}</td>
                  <td className="mono">{wants}</td>
                  <td className="mono">{has}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      {terms.length > 0 && (
        <p className="quiet">
          {terms.map(([name, value]) => (value ? `${name}: ${value}` : name)).join("; ")}
        </p>
      )}
      {it.would_close.map((place) => (
        <p key={`close ${place.rule}`}>
          <Mark tone="note">
            In shadow, <Where place={place} /> would close it
          </Mark>
        </p>
      ))}
      {it.would_open.map((place) => (
        <p key={`open ${place.rule}`}>
          <Mark tone="note">
            In shadow, <Where place={place} /> would open it
          </Mark>
        </p>
      ))}
    </>
  );
}
