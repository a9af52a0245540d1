// The devices from which somebody gets furthest who takes one over.

import { ask } from "../../api/client";
import { deviceAt, Link } from "../../lib/route";
import { count } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { useReach } from ".";

export function Worst() {
  const { value, problem } = useReach("worst", async (signal) => (await ask("get", "/v1/reach/worst", { signal })).body);
  if (problem) return <ProblemNotice problem={problem} />;
  if (!value) return null;
  return (
    <section className="card" aria-labelledby="worst">
      <h2 id="worst">From these devices somebody gets furthest</h2>
      <table className="entries">
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">Services in a flat network</th>
            <th scope="col">Granted</th>
            <th scope="col">Reached by hopping</th>
            <th scope="col">Devices reached by hopping</th>
          </tr>
        </thead>
        <tbody>
          {value.devices.map((one) => (
            <tr key={one.device}>
              <td>
                <Link to={deviceAt(one.device)}>{one.device}</Link>
              </td>
              <td>{count(one.flat_services)}</td>
              <td>{count(one.direct_services)}</td>
              <td>{count(one.transitive_services)}</td>
              <td>{count(one.transitive_devices)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
