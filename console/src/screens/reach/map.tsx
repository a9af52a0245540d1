// Zones, and who opens services of whom. Where each is drawn is computed by the controller: the same estate makes the same picture. The
// table below says the same.

import { useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { count } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import { useReach } from ".";

type Sketch = Schemas["Map"];

const [WIDTH, HEIGHT, EDGE] = [1000, 560, 60];

export function MapView() {
  const { value, problem } = useReach("map", async (signal) => (await ask("get", "/v1/reach/map", { signal })).body);
  if (problem) return <ProblemNotice problem={problem} />;
  return value ? (
    <>
      <section className="card" aria-labelledby="map">
        <h2 id="map">Who opens services of whom</h2>
        <Picture map={value} />
      </section>
      <Twin map={value} />
    </>
  ) : null;
}

function Picture({ map }: { map: Sketch }) {
  const [at, setAt] = useState<number | null>(null);
  const place = (node: Schemas["MapNode"]) => ({ x: EDGE * 1.6 + node.x * (WIDTH - EDGE * 3.2), y: EDGE + node.y * (HEIGHT - EDGE * 2) });
  const most = Math.max(1, ...map.edges.map((edge) => edge.pairs));
  const touches = (edge: Schemas["MapEdge"]) => at === null || edge.from === at || edge.to === at;
  return (
    <svg className="map" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${map.nodes.length} groups of zones and ${map.edges.length} connections; the table below lists them`}>
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">
          <path d="M0 0L8 4 0 8z" fill="context-stroke" />
        </marker>
      </defs>
      {map.edges.map((edge) => {
        const [from, to] = [map.nodes[edge.from], map.nodes[edge.to]];
        if (!from || !to || edge.from === edge.to) return null;
        const [a, b] = [place(from), place(to)];
        const [dx, dy] = [b.x - a.x, b.y - a.y];
        const length = Math.hypot(dx, dy) || 1;
        // Bent to the left, so that the way back is beside it; it ends at the circle.
        const bend = Math.min(40, length / 6);
        const [cx, cy] = [(a.x + b.x) / 2 - (dy / length) * bend, (a.y + b.y) / 2 + (dx / length) * bend];
        const near = radius(to) + 4;
        const l = Math.hypot(b.x - cx, b.y - cy) || 1;
        const [ex, ey] = [b.x - ((b.x - cx) / l) * near, b.y - ((b.y - cy) / l) * near];
        const width = 1 + 3 * (Math.log1p(edge.pairs) / Math.log1p(most));
        return <path key={`${edge.from} ${edge.to}`} className={touches(edge) ? "edge" : "edge off"} d={`M${a.x} ${a.y}Q${cx} ${cy} ${ex} ${ey}`} strokeWidth={width} markerEnd="url(#tip)" />;
      })}
      {map.nodes.map((node, number) => {
        const { x, y } = place(node);
        const r = radius(node);
        return (
          <g key={node.id} className="node" onMouseEnter={() => setAt(number)} onMouseLeave={() => setAt(null)}>
            {node.outside ? <rect x={x - r} y={y - r} width={r * 2} height={r * 2} rx="4" /> : <circle cx={x} cy={y} r={r} strokeDasharray={node.enforced ? undefined : "4 3"} />}
            <text x={x} y={y + r + 14} textAnchor="middle">
              {node.id}
            </text>
            <text x={x} y={y + 4} textAnchor="middle" className="number">
              {node.devices > 0 ? count(node.devices) : ""}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

function radius(node: Schemas["MapNode"]): number {
  return 11 + 4 * Math.log10(1 + node.devices);
}

function Twin({ map }: { map: Sketch }) {
  const edges = [...map.edges].sort((a, b) => b.pairs - a.pairs);
  return (
    <section className="card" aria-labelledby="twin">
      <h2 id="twin">The same as a table</h2>
      <table className="entries">
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col">Services</th>
            <th scope="col">Pairs of device and service</th>
          </tr>
        </thead>
        <tbody>
          {edges.map((edge) => (
            <tr key={`${edge.from} ${edge.to}`}>
              <td>
                <Name node={map.nodes[edge.from]} />
              </td>
              <td>
                <Name node={map.nodes[edge.to]} />
              </td>
              <td>{count(edge.services)}</td>
              <td>{count(edge.pairs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Name({ node }: { node: Schemas["MapNode"] | undefined }) {
  if (!node) return null;
  return <Mark tone={node.outside ? "none" : node.enforced ? "good" : "note"}>{`${node.id} (${node.outside ? "outside" : node.enforced ? "enforced" : "shadow"})`}</Mark>;
}
