// The range at a glance.

import { useState } from "preact/hooks";
import { useData } from "../lib/data";
import { is } from "../lib/filter";
import { fleet } from "../lib/fleet";
import { bytes, count, countryName, show } from "../lib/format";
import { go, spanOf, to, usePlace } from "../lib/route";
import type { Alert, Groups, Health, KPIs, Line, Overview, Row, Series } from "../lib/types";
import { Card, Empty, Loaded, Segments, Text, Verdict, When } from "../parts/bits";
import { Legend, type Metric, metrics, Spark, StackedChart, valuesOf } from "../parts/chart";
import { HealthSummary } from "../parts/healthsummary";
import { LiveStrip } from "../parts/livestrip";
import { WorldMap } from "../parts/map";
import { setRange } from "../parts/range";
import { amount, amountForm, TopList } from "../parts/top";

const layers = [["exe", "Programs"], ["domain", "Destinations"], ["country", "Countries"], ["uid", "Users"], ["host", "Hosts"]] as const;
const shownLayers = layers.filter(([f]) => fleet || f !== "host");
type LayerField = (typeof layers)[number][0];

export const lineName = (field: string) => (l: Line): string => {
  if (l.other) return "All others";
  if (field === "country") return countryName(l.key);
  if (field === "uid") return l.detail ? show(l.detail) : l.key;
  if (l.key === "") return field === "domain" ? "no name known" : "none";
  return field.endsWith("exe") ? show(l.key.slice(l.key.lastIndexOf("/") + 1)) : show(l.key);
};

export function OverviewPage() {
  const p = usePlace();
  const span = spanOf(p).toString();
  const [metric, setMetric] = useState<Metric>("total");
  const [by, setBy] = useState<LayerField>("exe");
  const overview = useData<Overview>(`/api/overview?${span}`);
  const all = useData<Series>(`/api/series?${span}&points=60`);
  const o = overview.value;
  const empty = o && o.now.connections === 0 && o.now.sent + o.now.received === 0;
  const explore = (field: string) => (value: string): string => to(p, "/explore", { by: field === "exe" ? "domain" : "exe", f: is(field, value) });
  const sum = o ? { keys: [], connections: o.now.connections, sent: o.now.sent, received: o.now.received, denied: 0, would_deny: 0 } as Row : null;
  const list = (title: string, field: LayerField, rows: Row[] | null, none: string) => (
    <Card title={title} extra={<a class="more" href={to(p, "/explore", { by: field })}>All</a>}>
      <TopList rows={rows ?? []} field={field} metric={metric} total={sum ? amount(sum, metric) : 0} href={explore(field)} empty={none} />
    </Card>
  );
  return (
    <div class="overview">
      <Loaded data={overview} rows={2}>{(v) => <Numbers v={v} series={all.value} />}</Loaded>
      {empty && <Empty title="Nothing was recorded in this range."><p>Choose a longer one (top right), {fleet ? "" : <>or see whether the daemon runs: <a href="/health">Health</a>.</>}</p></Empty>}
      <Traffic by={by} setBy={setBy} metric={metric} setMetric={setMetric} span={span} />
      {o && <div class="grid four">
        {list("Programs", "exe", o.programs, "No program talked.")}
        {list("Destinations", "domain", o.destinations, "No destination was talked to.")}
        {list("Users", "uid", o.users, "Nobody talked.")}
        {list("Countries", "country", (o.countries ?? []).filter((r) => r.keys?.[0]), "No country is known.")}
      </div>}
      <div class="grid map-row">
        <Card title="Where to" extra={<a class="more" href={to(p, "/explore", { by: "country" })}>All countries</a>}>
          {o && <WorldMap rows={o.countries ?? []} href={explore("country")} value={(r) => amount(r, metric)} form={amountForm(metric)} />}
        </Card>
        {fleet ? <HostsCard span={span} metric={metric} href={explore("host")} />
          : <Card title="New alerts" extra={<a class="more" href={to(p, "/alerts")}>All alerts</a>}><AlertList rows={o?.alerts ?? []} /></Card>}
      </div>
      {!fleet && <div class="grid live-row">
        <LiveStrip />
        <HealthCard span={span} />
      </div>}
    </div>
  );
}

function HostsCard({ span, metric, href }: { span: string; metric: Metric; href: (value: string) => string }) {
  const p = usePlace();
  const d = useData<Groups>(`/api/groups?${span}&by=host`);
  return (
    <Card title="Hosts" extra={<a class="more" href={to(p, "/explore", { by: "host" })}>All</a>}>
      <Loaded data={d}>{(g) => <TopList rows={g.rows ?? []} field="host" metric={metric} total={amount(g.total, metric)} href={href} empty="No host was active." />}</Loaded>
    </Card>
  );
}

function HealthCard({ span }: { span: string }) {
  const h = useData<Health>(`/api/health?${span}`);
  return <Card title="Health" extra={<a class="more" href="/health">All</a>}><Loaded data={h}>{(v) => <HealthSummary h={v} />}</Loaded></Card>;
}

function Traffic({ by, setBy, metric, setMetric, span }: { by: LayerField; setBy: (f: LayerField) => void; metric: Metric; setMetric: (m: Metric) => void; span: string }) {
  const p = usePlace();
  const series = useData<Series>(`/api/series?${span}&by=${by}&top=7`);
  const name = lineName(by);
  return (
    <Card title="Traffic" className="traffic" extra={<div class="actions">
      <Segments label="Layers" value={by} options={shownLayers} onPick={setBy} />
      <Segments label="Measure" value={metric} options={metrics} onPick={setMetric} />
    </div>}>
      <Loaded data={series} rows={6}>{(s) => (s.times ?? []).length === 0 ? <Empty title="No traffic in this range." /> : (
        <>
          <StackedChart series={s} metric={metric} name={name} height={248} onZoom={(a, b) => setRange(p, a, b)} label={`Traffic over time by ${by}; the legend and the lists below have the numbers`} />
          <Legend series={s} metric={metric} name={name} href={(l) => (l.other ? null : to(p, "/explore", { by: by === "exe" ? "domain" : "exe", f: is(by, l.key) }))} />
        </>
      )}</Loaded>
    </Card>
  );
}

interface Shown {
  name: string;
  key: keyof KPIs;
  form: (n: number) => string;
  href: string;
  bad?: boolean; // more is worse
  spark?: Metric;
}

function Numbers({ v, series }: { v: Overview; series: Series | undefined }) {
  const p = usePlace();
  const cells: Shown[] = [
    { name: "Connections", key: "connections", form: count, href: to(p, "/explore", { view: "connections" }), spark: "connections" },
    { name: "Received", key: "received", form: bytes, href: to(p, "/explore", { by: "exe", order: "received" }), spark: "received" },
    { name: "Sent", key: "sent", form: bytes, href: to(p, "/explore", { by: "exe", order: "sent" }), spark: "sent" },
    { name: "Programs", key: "programs", form: count, href: to(p, "/explore", { by: "exe" }) },
    { name: "Destinations", key: "destinations", form: count, href: to(p, "/explore", { by: "domain" }) },
    { name: "New programs", key: "new_programs", form: count, href: to(p, "/explore", { view: "programs", new: "1" }), bad: true },
    v.now.denied === 0 && v.now.would_deny > 0
      ? { name: "Would deny", key: "would_deny", form: count, href: to(p, "/explore", { by: "exe", f: "would=deny" }), bad: true }
      : { name: "Denied", key: "denied", form: count, href: to(p, "/explore", { by: "exe", f: "action=deny" }), bad: true },
    ...(fleet ? [] : [{ name: "Alerts", key: "alerts", form: count, href: to(p, "/alerts"), bad: true } as const]),
  ];
  return (
    <ul class="kpis">
      {cells.map((c) => {
        const now = v.now[c.key];
        const line = c.spark && series?.lines?.[0];
        return (
          <li key={c.key}>
            <a href={c.href} class={c.bad && now > 0 ? "kpi hot" : "kpi"}>
              <span class="kpi-name">{c.name}</span>
              <span class="kpi-value">{c.form(now)}</span>
              <Trend now={now} before={v.before?.[c.key]} bad={c.bad} />
              {line && <Spark values={valuesOf(line, c.spark!)} />}
            </a>
          </li>
        );
      })}
    </ul>
  );
}

function Trend({ now, before, bad }: { now: number; before: number | undefined; bad?: boolean | undefined }) {
  if (before === undefined) return <span class="trend">no earlier record</span>;
  if (now === before) return <span class="trend">as before</span>;
  const up = now > before;
  const text = before === 0 ? "none before" : now / before >= 10 ? `${Math.round(now / before)} times` : `${Math.abs(Math.round((100 * (now - before)) / before)) || "<1"} %`;
  return <span class={`trend${bad ? (up ? " worse" : " better") : ""}`}><span aria-hidden="true">{up ? "▲" : "▼"} </span><span class="sr">{up ? "more than before: " : "less than before: "}</span>{text}</span>;
}

export function AlertList({ rows }: { rows: Alert[] }) {
  const p = usePlace();
  if (rows.length === 0) return <Empty title="Nothing new."><p>What the rules want you to know appears here.</p></Empty>;
  return (
    <ul class="brief">
      {rows.map((a) => (
        <li key={a.id}>
          <button type="button" class="brief-row" onClick={() => go(to(p, "/alerts", { id: String(a.id) }))}>
            <Verdict word={a.action || a.kind} />
            <span class="brief-text"><Text s={a.rule || (a.kind === "rule" ? "no rule speaks of it" : a.kind)} /><span class="dim clip">{show(a.exe ? a.exe.slice(a.exe.lastIndexOf("/") + 1) : a.reason)}{a.domain || a.peer ? ` → ${show(a.domain || a.peer)}` : ""}</span></span>
            <span class="dim num">{a.count > 1 ? `${count(a.count)}× ` : ""}<When t={a.last} relative /></span>
          </button>
        </li>
      ))}
    </ul>
  );
}
