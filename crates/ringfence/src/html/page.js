"use strict";
// Everything shown comes off the wire: it is only ever set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { report, zones } = data;
const $ = (id) => document.getElementById(id);
const el = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...kids.filter((k) => k !== null && k !== undefined && k !== "").map((k) => (k instanceof Node ? k : document.createTextNode(String(k)))));
  return node;
};
const svg = (tag, props = {}, text = "") => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  if (text !== "") node.textContent = text;
  return node;
};
const number = (n) => Number(n).toLocaleString("en");
const size = (n) => (n < 1e3 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(1)} GB`);
const time = (t) => t.slice(0, 19).replace("T", " ");
const value = (attribute) => (attribute ? attribute.value : "");
const product = (d) => (d.model && d.model.evidence.every((e) => e.rule !== "machine-name") ? d.model.value : "");
// A zone is `site/class/subnet`; what all zones have in common is left out.
const parts = [...new Set(Object.values(zones))].map((z) => z.split("/"));
const common = [0, 1, 2].map((i) => new Set(parts.map((p) => p[i])).size === 1);
const short = (zone) => zone.split("/").filter((_, i) => i === 1 || !common[i]).join("/") || zone;
const zoneOf = (id) => (zones[id] ? short(zones[id]) : "");
const mainAddress = (d) => d.ips.find((ip) => ip.includes(".")) || d.ips[0] || "";
const byId = new Map(report.devices.map((d) => [d.id, d]));
const title = (d) => d.hostnames[0] || [value(d.vendor), product(d)].filter(Boolean).join(" ") || mainAddress(d) || d.id;
const titleOf = (id) => (byId.has(id) ? title(byId.get(id)) : id);

// ── header and figures ──
const confirmed = report.devices.filter((d) => d.status === "confirmed");
const packets = report.inputs.reduce((sum, i) => sum + i.packets, 0);
$("about").textContent = `${report.inputs.length === 1 ? report.inputs[0].name : `${report.inputs.length} inputs`} · ${number(packets)} packets · ${time(report.span.first)} to ${time(report.span.last)} UTC`;
const closed = report.conduits.filter((c) => c.proposal.verdict !== "allow").length;
const figures = [
  [number(confirmed.length), "devices"],
  [number(confirmed.filter((d) => product(d)).length), "with a known model"],
  [number(confirmed.filter((d) => d.firmware).length), "with a known firmware"],
  [number(report.conduits.length), `paths used, ${number(closed)} proposed to stay closed`],
  [number(report.findings.length), "findings"],
];
if (report.reach) figures.push([`${(report.reach.unused_share * 100).toFixed(0)} %`, "of reachable paths never used"]);
$("figures").append(...figures.map(([n, what]) => el("div", { class: "figure" }, el("b", {}, n), el("span", {}, what))));

if (data.proof) {
  const p = data.proof;
  const sound = p.disagreements.length === 0 && p.broken.length === 0;
  $("figures").after(el("section", { id: "proof" }, el("h2", {}, "Proof: the flat network and the fence"), el("p", { class: "hint" }, sound ? "Every probe met the fate the policy gives it, and everything the warehouse needs went on working." : [...p.disagreements, ...p.broken].join("; ")), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Judged at the victims", "Flat", "Fenced"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...p.rows.map((r) => el("tr", {}, el("td", {}, r.what), el("td", {}, r.flat), el("td", {}, r.fenced)))))), el("ul", {}, ...p.kept.map((k) => el("li", {}, k)))));
}

// ── inventory ──
const columns = [
  ["Address", mainAddress],
  ["Link address", (d) => d.macs[0] || ""],
  ["Type", (d) => value(d.type)],
  ["Vendor", (d) => value(d.vendor) || (d.chip_vendor ? `(${d.chip_vendor} chip)` : "")],
  ["Model", (d) => product(d)],
  ["Firmware", (d) => value(d.firmware)],
  ["Name", (d) => d.hostnames[0] || ""],
  ["Zone", (d) => zoneOf(d.id)],
  ["Packets", (d) => d.packets],
];
let order = { column: 0, down: false };
let open = null;
const options = (select, all, values) => select.append(el("option", { value: "" }, all), ...[...new Set(values.filter(Boolean))].sort().map((v) => el("option", { value: v }, v)));
options($("f-type"), "all types", report.devices.map((d) => value(d.type)));
options($("f-vendor"), "all vendors", report.devices.map((d) => value(d.vendor)));
options($("f-zone"), "all zones", report.devices.map((d) => zoneOf(d.id)));
const haystack = new Map(report.devices.map((d) => [d.id, JSON.stringify([d.id, d.macs, d.ips, d.hostnames, d.vendor, d.model, d.type, d.firmware, d.os, d.serial, d.protocols, zoneOf(d.id)]).toLowerCase()]));
const address = (ip) => (/^\d+\.\d+\.\d+\.\d+$/.test(ip) ? ip.split(".").map((p) => p.padStart(3, "0")).join(".") : `~${ip}`);
const compare = (a, b) => {
  const [x, y] = [a, b].map(columns[order.column][1]);
  const [u, v] = order.column === 0 ? [address(x), address(y)] : [x, y];
  const result = typeof u === "number" ? u - v : u === "" ? 1 : v === "" ? -1 : u.localeCompare(v, "en", { numeric: true });
  return order.down ? -result : result;
};
const evidence = (e) => `${e.field} “${e.value}”${e.packet ? ` · packet ${e.packet}` : ""}${e.input ? ` of ${e.input.split("/").pop()}` : ""} · rule ${e.rule}`;
const attribute = (name, a) => a && el("div", {}, el("h3", {}, `${name}: ${a.value}`, el("span", { class: "bar", title: `confidence ${a.confidence}` }, el("i", { style: `width:${a.confidence * 100}%` }))), el("ul", {}, ...a.evidence.map((e) => el("li", {}, evidence(e))), ...(a.contradicted_by || []).map((c) => el("li", {}, `against it: ${c.value}`, c.evidence[0] ? ` (${evidence(c.evidence[0])})` : ""))));
const plain = (name, list) => list.length > 0 && el("div", {}, el("h3", {}, name), el("ul", {}, ...list.map((x) => el("li", {}, x))));
const details = (d) => {
  const uses = report.conduits.filter((c) => c.from === d.id).map((c) => `${c.proposal.verdict === "allow" ? "●" : "○"} ${c.to.replace(/^svc:/, "")}${c.protocol ? ` (${c.protocol})` : ""}${c.proposal.reason ? `: ${c.proposal.reason}` : ""}`);
  const offers = report.services.filter((s) => s.device === d.id).map((s) => `${s.transport}/${s.port}${s.protocol ? ` (${s.protocol})` : ""}`);
  return el("tr", { class: "details" }, el("td", { colspan: columns.length }, el("div", { class: "facts" },
    ...["vendor", "model", "type", "firmware", "hardware", "serial", "os"].map((k) => attribute(k[0].toUpperCase() + k.slice(1), d[k])).filter(Boolean),
    ...[
      plain("Identity", [`id ${d.id}`, `assurance ${d.assurance}`, ...d.aliases.map((a) => `also ${a}`), ...d.identifiers.map((i) => `${i.kind} ${i.value}`)]),
      plain("Addresses", [...d.macs, ...d.ips, ...d.vlans.map((v) => `VLAN ${v}`), ...d.located_at.map((l) => `at ${titleOf(l.device)}, port ${l.port}`)]),
      plain("Family", [...(d.parent ? [`behind ${titleOf(d.parent)} (${d.via})`] : []), ...d.children.map((c) => `in front of ${titleOf(c)}`)]),
      plain("Names", d.hostnames),
      plain("May be the same as", d.merge_suggestions.map((m) => `${titleOf(m.device)}: ${m.reason} (${m.confidence})`)),
      plain("Firmware history", d.firmware_history.length > 1 ? d.firmware_history.map((v) => `${v.value} since ${time(v.since)}`) : []),
      plain("Offers", offers),
      plain("Uses", uses),
      plain("Seen", [`${time(d.first_seen)} to ${time(d.last_seen)}`, `${number(d.packets)} packets, ${size(d.bytes)}`, ...(d.packets_to_identity ? [`model known after ${d.packets_to_identity} packets`] : []), `protocols: ${d.protocols.join(", ") || "none recognised"}`]),
    ].filter(Boolean))));
};
const show = () => {
  const q = $("q").value.trim().toLowerCase();
  const [type, vendor, zone, stray] = [$("f-type").value, $("f-vendor").value, $("f-zone").value, $("f-stray").checked];
  const rows = report.devices.filter((d) => (stray || d.status === "confirmed") && (!type || value(d.type) === type) && (!vendor || value(d.vendor) === vendor) && (!zone || zoneOf(d.id) === zone) && (!q || haystack.get(d.id).includes(q))).sort(compare);
  const shown = rows.slice(0, 1000);
  $("count").textContent = rows.length > shown.length ? `${number(shown.length)} of ${number(rows.length)} shown; filter to see others` : `${number(rows.length)} shown`;
  $("devices").tHead.replaceChildren(el("tr", {}, ...columns.map(([name], i) => el("th", { scope: "col", "aria-sort": order.column === i ? (order.down ? "descending" : "ascending") : "none" }, el("button", { type: "button", onclick: () => { order = { column: i, down: order.column === i && !order.down }; show(); } }, name, order.column === i ? (order.down ? " ↓" : " ↑") : "")))));
  $("devices").tBodies[0].replaceChildren(...shown.flatMap((d) => {
    const toggle = () => { open = open === d.id ? null : d.id; show(); };
    const row = el("tr", { class: "device", tabindex: 0, "aria-expanded": open === d.id, onclick: toggle, onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); toggle(); } } },
      ...columns.map(([, get], i) => el("td", i < 2 ? { class: "mono" } : {}, i === 8 ? number(get(d)) : get(d), i === 0 && d.ips.length > 1 ? el("span", { class: "sub" }, `+${d.ips.length - 1} more`) : "", i === 1 && d.macs.length > 1 ? el("span", { class: "sub" }, `+${d.macs.length - 1} more`) : "", i === 0 && !d.ips.length && d.via ? el("span", { class: "sub" }, `↳ ${d.via}`) : "")));
    return open === d.id ? [row, details(d)] : [row];
  }));
};
["q", "f-type", "f-vendor", "f-zone", "f-stray"].forEach((id) => $(id).addEventListener("input", show));
show();

// ── paths: zones × services ──
const serviceById = new Map(report.services.map((s) => [s.id, s]));
const cells = new Map();
const clientsOf = new Map();
for (const c of report.conduits) {
  const zone = zoneOf(c.from) || "no zone";
  const key = `${zone}\n${c.to}`;
  const cell = cells.get(key) || { zone, to: c.to, allowed: new Set(), closed: new Set() };
  (c.proposal.verdict === "allow" ? cell.allowed : cell.closed).add(c.from);
  cells.set(key, cell);
  clientsOf.set(c.to, (clientsOf.get(c.to) || 0) + 1);
}
const zoneNames = [...new Set([...cells.values()].map((c) => c.zone))].sort();
const topServices = [...clientsOf].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, 40).map(([id]) => serviceById.get(id)).filter(Boolean);
const serviceLabel = (s) => `${s.transport}/${s.port} ${s.name}`;
$("matrix").tHead.append(el("tr", {}, el("th", { scope: "col" }, "Zone"), ...topServices.map((s) => el("th", { scope: "col", class: "service", title: s.id }, serviceLabel(s)))));
$("matrix").tBodies[0].append(...zoneNames.map((zone) => el("tr", {}, el("td", {}, zone), ...topServices.map((s) => {
  const cell = cells.get(`${zone}\n${s.id}`);
  if (!cell) return el("td");
  const sign = cell.closed.size === 0 ? "●" : cell.allowed.size === 0 ? "○" : "◐";
  const names = [...cell.allowed, ...cell.closed].slice(0, 20).map(titleOf).join(", ");
  return el("td", { class: cell.allowed.size ? "on" : "", title: `${zone} → ${serviceLabel(s)}: ${names}` }, `${sign} ${cell.allowed.size + cell.closed.size}`);
}))));
if (clientsOf.size > topServices.length) $("paths").append(el("p", { class: "hint" }, `The ${topServices.length} services with most clients of ${number(clientsOf.size)}.`));

// ── map: zones, and the zones or outside places their paths lead to ──
const placeOf = (s) => (s.scope === "external" ? "Internet" : s.scope === "group" ? "multicast and broadcast" : zoneOf(s.device) || "no zone");
const edges = new Map();
for (const c of report.conduits) {
  const s = serviceById.get(c.to);
  if (!s) continue;
  const [from, to] = [zoneOf(c.from) || "no zone", placeOf(s)];
  const key = `${from}\n${to}`;
  const edge = edges.get(key) || { from, to, devices: new Set(), allowed: 0 };
  edge.devices.add(c.from);
  if (c.proposal.verdict === "allow") edge.allowed += 1;
  edges.set(key, edge);
}
const left = [...new Set([...edges.values()].map((e) => e.from))].sort();
const right = [...new Set([...edges.values()].map((e) => e.to))].sort();
const inZone = (zone) => confirmed.filter((d) => (zoneOf(d.id) || "no zone") === zone).length;
const step = 46;
const height = Math.max(left.length, right.length, 1) * step + 30;
const drawing = svg("svg", { viewBox: `0 0 1000 ${height}`, width: "100%", style: "max-height:60rem", role: "img", "aria-label": "Zones and where their paths lead" });
const y = (i, n) => height / 2 + (i - (n - 1) / 2) * step;
for (const e of edges.values()) {
  const [a, b] = [y(left.indexOf(e.from), left.length), y(right.indexOf(e.to), right.length)];
  const line = svg("path", { d: `M270 ${a} C 500 ${a}, 500 ${b}, 730 ${b}`, fill: "none", stroke: "var(--accent)", "stroke-opacity": .45, "stroke-width": Math.min(14, 1.2 + Math.sqrt(e.devices.size) * 1.3) });
  if (e.allowed === 0) { line.setAttribute("stroke", "var(--high)"); line.setAttribute("stroke-dasharray", "5 5"); }
  line.append(svg("title", {}, `${e.from} → ${e.to}: ${e.devices.size} devices`));
  drawing.append(line);
}
left.forEach((zone, i) => drawing.append(svg("circle", { cx: 270, cy: y(i, left.length), r: 5, fill: "var(--accent)" }), svg("text", { x: 256, y: y(i, left.length) - 1, "text-anchor": "end" }, zone), svg("text", { x: 256, y: y(i, left.length) + 13, "text-anchor": "end", class: "soft" }, `${inZone(zone)} devices`)));
right.forEach((place, i) => drawing.append(svg("circle", { cx: 730, cy: y(i, right.length), r: 5, fill: "var(--accent)" }), svg("text", { x: 744, y: y(i, right.length) + 4 }, place)));
$("drawing").append(edges.size ? drawing : el("p", { class: "hint", style: "padding:1rem" }, "No paths were used."));

// ── findings, reach, inputs ──
$("finding-list").append(...(report.findings.length ? report.findings.map((f) => el("div", { class: "finding" }, el("div", { class: `level ${f.severity}` }, f.severity.toUpperCase()), el("div", {}, el("strong", {}, `${f.device ? titleOf(f.device) : "Segment"}: ${f.title}`), el("p", {}, f.detail), el("p", {}, `${f.kind} · ${time(f.at)}${f.count > 1 ? ` · ${number(f.count)} times` : ""}`)))) : [el("p", { class: "hint" }, "None.")]));
if (report.reach) {
  const r = report.reach;
  const table = (head, rows) => el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((x) => el("td", {}, typeof x === "number" ? number(x) : x)))))));
  $("reach-body").append(
    el("p", { class: "hint" }, "How many (device, service) pairs are open: directly, and when a device that was taken over may use every open path of each device it reaches."),
    table(["", "pairs, direct", "pairs, by hopping", "one device at most", "by hopping"], [["flat network", r.flat], ["draft policy", r.draft]].map(([n, s]) => [n, s.direct_pairs, s.transitive_pairs, s.direct_max, s.transitive_max])),
    el("h3", {}, "Reach most under the draft"),
    table(["device", "flat: services", "direct: services", "direct: devices", "by hopping: services", "by hopping: devices"], r.worst.map((w) => [titleOf(w.device), w.flat_services, w.direct_services, w.direct_devices, w.transitive_services, w.transitive_devices])));
}
$("input-table").tHead.append(el("tr", {}, ...["Input", "Packets", "Bytes", "Dropped", "Faults"].map((h) => el("th", { scope: "col" }, h))));
$("input-table").tBodies[0].append(...report.inputs.map((i) => el("tr", {}, el("td", {}, i.name), el("td", {}, number(i.packets)), el("td", {}, size(i.bytes)), el("td", {}, number(i.dropped)), el("td", {}, [...(i.truncated ? ["ends inside a packet"] : []), ...i.errors].join("; ") || "none"))));
