"use strict";
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const made = (name, kind, text) => {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
};
const drawn = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const number = (value) => value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
const millis = (value) => value === null ? "–" : value >= 1000 ? number(value / 1000) + " s" : (value < 1 ? String(+value.toPrecision(2)) : number(value)) + " ms";
const bytes = (value) => value >= 1048576 ? number(value / 1048576) + " MiB" : number(value / 1024) + " KiB";
const sum = (moments, key) => moments.reduce((total, moment) => total + moment[key], 0);
const STEPS = 120;
const OUTCOMES = [["cache", "good", "from the cache"], ["vendor", "cold", "from the vendor"], ["failed", "bad", "failed"]];
const period = (seconds) => {
  const whole = Math.round(seconds), units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  return units.slice(first, first + 2).map(([size, name], index) => [Math.floor((index ? whole % units[first][0] : whole) / size), name])
    .filter(([count]) => count).map((part) => part.join(" ")).join(" ");
};
const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19) + " UTC";

function canvas(label) {
  const svg = drawn("svg", {viewBox: "0 0 120 50", preserveAspectRatio: "none", role: "img", "aria-label": label});
  svg.append(drawn("line", {x1: 0, x2: 120, y1: 49.5, y2: 49.5, class: "base"}));
  return svg;
}
function finish(id, svg, entries, most) {
  const legend = made("div", "legend soft");
  for (const [kind, text] of entries) {
    const entry = made("span");
    entry.append(made("i", kind + "-fill"), text);
    legend.append(entry);
  }
  legend.append(made("span", "", "top: " + most));
  byId(id).replaceChildren(svg, legend);
}
function callsChart(moments) {
  const most = Math.max(1, ...moments.map((moment) => moment.calls / moment.seconds));
  const svg = canvas("calls a second, at most " + number(most));
  moments.forEach((moment, index) => {
    const x = STEPS - moments.length + index;
    const good = moment.calls - moment.refused - moment.failed;
    let y = 49;
    for (const [kind, count] of [["good", good], ["warn", moment.refused], ["bad", moment.failed]]) {
      const height = count / moment.seconds / most * 47;
      if (height > 0) svg.append(drawn("rect", {x: x + .1, width: .8, y: y - height, height, class: kind + "-fill"}));
      y -= height;
    }
  });
  finish("calls", svg, [["good", "answered"], ["warn", "refused"], ["bad", "failed"]], number(most) + " a second");
}
function lines(id, moments, label, series, most, top) {
  const svg = canvas(label + ", at most " + top);
  for (const [kind, , value] of series) {
    const points = moments.map((moment, index) => [STEPS - moments.length + index + .5, value(moment)])
      .filter((point) => point[1] !== null).map(([x, y]) => x + "," + (49 - Math.min(1, y / most) * 47));
    if (points.length === 1) points.push(points[0].replace(/^[\d.]+/, (x) => +x + .5));
    if (points.length) svg.append(drawn("polyline", {points: points.join(" "), class: kind + "-line"}));
  }
  finish(id, svg, series.map(([kind, text]) => [kind, text]), top);
}
function row(name, text, kind) {
  const item = made("li");
  item.append(made("span", "", name), made("span", kind, text));
  return item;
}
function vendor(data) {
  const {asked, unanswered} = data.minute, failing = asked ? unanswered / asked : 0;
  const rows = [asked ? row("Vendor", failing ? "fails " + number(failing * 100) + " % of requests" : "answers", failing > .2 ? "bad" : failing ? "warn" : "good")
    : row("Vendor", "not asked lately", "soft")];
  for (const [name, inForce] of Object.entries(data.credentials))
    rows.push(row("Credential " + name, inForce ? "loaded" : "new files are not usable", inForce ? "" : "warn"));
  return rows;
}
function health(data) {
  const rows = [row("Gateway", data.ready ? "ready" : "not ready", data.ready ? "good" : "bad")];
  for (const [store, up] of Object.entries(data.stores || {}))
    rows.push(row(store[0].toUpperCase() + store.slice(1) + " store", up ? "answers" : "out", up ? "good" : "warn"));
  rows.push(...vendor(data));
  if (data.upstream_in_flight !== null) rows.push(row("Searches at the vendor", String(data.upstream_in_flight), ""));
  if (data.calls_in_flight !== null) rows.push(row("Calls in flight", String(data.calls_in_flight), ""));
  if (data.cache_bytes !== null) rows.push(row("Cached answers", (data.cache_entries ?? "") + " · " + bytes(data.cache_bytes), ""));
  byId("health").replaceChildren(...rows);
}
function tenants(data) {
  const shown = data.tenants.map((tenant) => {
    const box = made("div", "tenant");
    const head = made("div");
    head.append(made("strong", "", tenant.id));
    if (tenant.role === "operator") head.append(" ", made("span", "soft", "operator"));
    if (tenant.degraded) head.append(" ", made("span", "warn", "store out: this replica's share"));
    box.append(head);
    for (const limit of tenant.limits) {
      const line = made("div", "limit");
      const bar = made("div", "bar");
      const share = limit.limit > 0 ? Math.min(1, limit.used / limit.limit) : 1;
      const inside = made("div", share >= 1 ? "bad-bar" : share >= .8 ? "warn-bar" : "");
      inside.style.width = share * 100 + "%";
      bar.append(inside);
      const name = limit.id.replaceAll("_", " ");
      bar.setAttribute("role", "img");
      bar.setAttribute("aria-label", name + ": " + limit.used + " of " + limit.limit + " used");
      line.append(made("span", "soft", name), bar, made("span", "soft", number(limit.used) + " of " + number(limit.limit)));
      box.append(line);
    }
    if (!tenant.limits.length) box.append(made("div", "soft", "no limits"));
    return box;
  });
  byId("tenants").replaceChildren(...(shown.length ? shown : [made("p", "soft", "none")]));
}
function troubles(data) {
  byId("troubles").replaceChildren(...data.troubles.map(({level, text, since}) => {
    const box = made("div", "trouble " + level);
    box.append(made("b", "", text), made("span", "", "since " + clock(since) + ", for " + period(data.time - since)));
    return box;
  }));
  const worst = !data.ready ? ["not ready", "bad"] : !data.troubles.length ? ["ready", "good"]
    : data.troubles[0].level === "bad" ? ["ready, and failing", "bad"] : ["ready, with problems", "warn"];
  byId("ready").textContent = worst[0];
  byId("ready").className = "pill " + worst[1];
}
function figure(id, text, kind) {
  byId(id).textContent = text;
  byId(id).className = kind || "";
}
function figures(minute) {
  const seconds = minute.seconds;
  byId("period").textContent = seconds ? "The figures above are of the last " + period(seconds) + "." : "There are no figures yet.";
  if (!seconds) return;
  figure("rate", number(minute.calls / seconds));
  figure("refused", number(minute.refused), minute.refused ? "warn" : "");
  figure("failed", number(minute.failed), minute.failed ? "bad" : "");
  figure("hits", minute.searched ? Math.round(minute.hits / minute.searched * 100) + " %" : "–");
  for (const [outcome] of OUTCOMES) {
    const [median, high] = minute.latency[outcome] || [null, null];
    figure("p50-" + outcome, median === null ? "none" : millis(median));
    byId("p99-" + outcome).textContent = high === null ? "" : "99 % within " + millis(high);
  }
}
function failures(data, seconds) {
  byId("failures-title").textContent = "Failures and refusals" + (seconds ? " of the last " + period(seconds) : "");
  const table = made("table"), head = made("tr");
  for (const name of ["tenant", "reason", "calls"]) head.append(made("th", "", name));
  table.append(head);
  for (const {tenant, reason, count, level} of data.failures) {
    const line = made("tr");
    line.append(made("td", "", tenant === "none" ? "(not authenticated)" : tenant), made("td", level, reason), made("td", "", number(count)));
    table.append(line);
  }
  byId("failures").replaceChildren(data.failures.length ? table : made("p", "soft", "none"));
}
function show(data) {
  const moments = data.moments, seconds = sum(moments, "seconds");
  byId("about").textContent = [data.replica, "up for " + period(data.uptime_seconds), "version " + data.version,
    "configuration " + data.config_version, clock(data.time)].join(" · ");
  troubles(data);
  figures(data.minute);
  byId("charts").textContent = seconds ? "Charts: the last " + period(seconds) + "." : "";
  callsChart(moments);
  const medians = moments.flatMap((moment) => Object.values(moment.latency).map((pair) => pair[0]));
  const slowest = Math.max(1, ...medians);
  lines("latency", moments, "median latency of searches", OUTCOMES.map(([outcome, kind, text]) =>
    [kind, text, (moment) => moment.latency[outcome] ? moment.latency[outcome][0] : null]), slowest, millis(slowest));
  lines("cache", moments, "share answered by the cache", [["cold", "answered by the cache", (moment) => moment.searched ? moment.hits / moment.searched : null]], 1, "100 %");
  health(data);
  failures(data, seconds);
  tenants(data);
}
async function look() {
  try {
    const answer = await fetch("/status.json", {cache: "no-store"});
    show(await answer.json());
  } catch {
    byId("ready").textContent = "not reachable";
    byId("ready").className = "pill bad";
  }
  setTimeout(look, 5000);
}
look();
