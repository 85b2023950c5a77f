// Group by anything, narrow down, look closer.

import { useData } from "../lib/data";
import { fleet } from "../lib/fleet";
import { is, isNot, label } from "../lib/filter";
import { bytes, count, plural, show, stamp } from "../lib/format";
import { changed, go, spanOf, usePlace } from "../lib/route";
import type { Conns, Field, Groups, Program, Row, Series } from "../lib/types";
import { Button, Card, Empty, Loaded, Path, Segments, When } from "../parts/bits";
import { Legend, type Metric, StackedChart } from "../parts/chart";
import { ConnTable } from "../parts/connection";
import { Drawer } from "../parts/drawer";
import { FilterBar, filtersOf, withFilter } from "../parts/filters";
import { setRange } from "../parts/range";
import { amount, Bar, Key } from "../parts/top";
import { ExportMenu } from "../parts/export";
import { lineName } from "./overview";

const pageRows = 100;

const metricOf = (order: string): Metric => (order === "sent" || order === "received" || order === "connections" ? order : "total");

/** useExplore reads the view from the address. */
function useExplore() {
  const p = usePlace();
  const q = p.params;
  const by = q.getAll("by").slice(0, 2);
  return { p, by: by.length ? by : ["exe"], view: q.get("view") ?? "groups", order: q.get("order") ?? "total", asc: q.get("asc") === "1",
    offset: Number(q.get("offset") ?? 0) || 0, filters: filtersOf(p), span: spanOf(p), open: q.get("open"), fresh: q.get("new") === "1" };
}

export function ExplorePage() {
  const v = useExplore();
  const fields = useData<Field[]>("/api/fields", false);
  const query = new URLSearchParams(v.span);
  for (const f of v.filters) query.append("f", f);
  const metric = metricOf(v.order);
  return (
    <div class="explore">
      <div class="toolbar">
        <Segments label="Show" value={v.view} options={[["groups", "Groups"], ["connections", "Connections"], ["programs", "Programs"]]}
          onPick={(view) => go(changed(v.p, { view: view === "groups" ? null : view, offset: null, open: null }))} />
        {v.view === "groups" && <GroupPicker by={v.by} fields={fields.value ?? []} />}
        <ExportMenu query={query} by={v.view === "groups" ? v.by : []} />
      </div>
      <FilterBar />
      {v.view !== "programs" && <Over by={v.view === "groups" ? v.by[0]! : "exe"} query={query} metric={metric} />}
      {v.view === "groups" && <GroupTable query={query} metric={metric} />}
      {v.view === "connections" && <Connections query={query} />}
      {v.view === "programs" && <Programs span={v.span} fresh={v.fresh} />}
      {v.open !== null && <Drawer filter={v.open} query={query} onClose={() => go(changed(v.p, { open: null }))} />}
    </div>
  );
}

function Over({ by, query, metric }: { by: string; query: URLSearchParams; metric: Metric }) {
  const p = usePlace();
  const field = by === "time" ? "" : by;
  const series = useData<Series>(`/api/series?${query}&by=${encodeURIComponent(field)}&top=7`);
  const name = field ? lineName(field) : () => "All traffic";
  return (
    <section class="card slim" aria-label="Traffic over time">
      <Loaded data={series} rows={3}>{(s) => (s.times ?? []).length === 0 ? <Empty title="No traffic matches in this range." /> : (
        <>
          <StackedChart series={s} metric={metric} name={name} height={150} onZoom={(a, b) => setRange(p, a, b)} label="Traffic over time; the table below has the numbers" />
          {field && <Legend series={s} metric={metric} name={name} href={(l) => (l.other ? null : withFilter(p, is(field, l.key)))} />}
        </>
      )}</Loaded>
    </section>
  );
}

function GroupPicker({ by, fields }: { by: string[]; fields: Field[] }) {
  const p = usePlace();
  const names = [...new Set([...fields.filter((f) => f.group && (fleet || f.name !== "host")).map((f) => f.name), "time", ...by])];
  const options = names.map((n) => [n, label(n)] as const).sort((a, b) => a[1].localeCompare(b[1]));
  const pick = (first: string, second: string): void => go(changed(p, { by: second && second !== first ? [first, second] : [first], offset: null, open: null }));
  return (
    <div class="group-by">
      <label>Group by<select value={by[0]} onChange={(e) => pick(e.currentTarget.value, by[1] ?? "")}>{options.map(([v, t]) => <option value={v} key={v}>{t}</option>)}</select></label>
      <label>then<select value={by[1] ?? ""} onChange={(e) => pick(by[0]!, e.currentTarget.value)}><option value="">nothing</option>{options.filter(([v]) => v !== by[0]).map(([v, t]) => <option value={v} key={v}>{t}</option>)}</select></label>
    </div>
  );
}

/** room says on what screens a column is seen: what orders the rows always is. */
const room = (column: string, order: string): string =>
  column === "total" || column === order ? "" : column === "received" || column === "sent" ? "roomy" : "wide-only";

const columns = [["connections", "Connections"], ["received", "Received"], ["sent", "Sent"], ["total", "Total"], ["last", "Last"]] as const;

function GroupTable({ query, metric }: { query: URLSearchParams; metric: Metric }) {
  const v = useExplore();
  const q = new URLSearchParams(query);
  for (const b of v.by) q.append("by", b);
  q.set("order", v.order);
  if (v.asc) q.set("asc", "1");
  q.set("limit", String(pageRows));
  q.set("offset", String(v.offset));
  const data = useData<Groups>(`/api/groups?${q}`);
  const sort = (order: string): void => go(changed(v.p, { order, asc: v.order === order && !v.asc ? "1" : null, offset: null }));
  const head = (order: string, text: string, cls: string) => (
    <th key={order} class={cls} aria-sort={v.order === order ? (v.asc ? "ascending" : "descending") : undefined}>
      <button type="button" onClick={() => sort(order)}>{text}<span aria-hidden="true">{v.order === order ? (v.asc ? "\u00a0↑" : "\u00a0↓") : ""}</span></button>
    </th>
  );
  return (
    <section class="card flush" aria-label="Groups">
      <Loaded data={data} rows={10}>{(g) => {
        const rows = g.rows ?? [];
        if (rows.length === 0) return <Empty title="Nothing matches.">{v.filters.length > 0 ? <p>Remove a filter, or choose a longer range.</p> : <p>Choose a longer range.</p>}</Empty>;
        const most = Math.max(...rows.map((r) => amount(r, metric)));
        return (
          <>
            <div class="scroll" tabIndex={0} role="region" aria-label="Table of groups">
              <table class={v.by.length > 1 ? "groups two" : "groups"}>
                <caption class="sr">{v.by.map(label).join(", then ")}: {plural(g.count, "group")}</caption>
                <thead><tr>{v.by.length === 1 ? head("name", label(v.by[0]!), "grow") : v.by.map((b) => <th key={b} class="grow">{label(b)}</th>)}{columns.map(([o, t]) => head(o, t, `r ${room(o, v.order)}`))}<th><span class="sr">Actions</span></th></tr></thead>
                <tbody>{rows.map((r) => <GroupLine key={(r.keys ?? []).join("\n")} r={r} by={v.by} order={v.order} most={most} metric={metric} />)}</tbody>
                <tfoot><tr><th colSpan={v.by.length}>{plural(g.count, "group")}</th><td class={`r num ${room("connections", v.order)}`}>{count(g.total.connections)}</td><td class={`r num ${room("received", v.order)}`}>{bytes(g.total.received)}</td><td class={`r num ${room("sent", v.order)}`}>{bytes(g.total.sent)}</td><td class="r num">{bytes(g.total.sent + g.total.received)}</td><td class={room("last", v.order)} /><td /></tr></tfoot>
              </table>
            </div>
            {(g.more || v.offset > 0) && <div class="pager">
              <Button icon="left" label="Before" onClick={() => go(changed(v.p, { offset: v.offset > pageRows ? String(v.offset - pageRows) : null }))} disabled={v.offset === 0} />
              <span class="num">{count(v.offset + 1)} – {count(v.offset + rows.length)} of {count(g.count)}</span>
              <Button icon="right" label="After" onClick={() => go(changed(v.p, { offset: String(v.offset + pageRows) }))} disabled={!g.more} />
            </div>}
            {g.basis === "connections" && <p class="note pad">Each connection counts with all its bytes, whenever in its life they moved.</p>}
          </>
        );
      }}</Loaded>
    </section>
  );
}

function GroupLine({ r, by, order, most, metric }: { r: Row; by: string[]; order: string; most: number; metric: Metric }) {
  const p = usePlace();
  const keys = r.keys ?? [];
  const field = by[0]!;
  const value = keys[0] ?? "";
  const open = (): void => {
    if (field === "time") setRange(p, new Date(value).getTime(), new Date(r.last ?? value).getTime() + 60_000);
    else go(changed(p, { open: is(field, value) }));
  };
  return (
    <tr onClick={open}>
      {by.map((b, i) => (
        <td class="grow" key={b}>
          {i === 0 ? <button type="button" class="row-open" onClick={(e) => { e.stopPropagation(); open(); }}>{b === "time" ? stamp(keys[i], false) : <Key field={b} value={keys[i] ?? ""} detail={r.details?.[i]} />}</button>
            : b === "time" ? stamp(keys[i], false) : <Key field={b} value={keys[i] ?? ""} detail={r.details?.[i]} />}
          {i === 0 && <Bar part={amount(r, metric)} of={most} />}
        </td>
      ))}
      <td class={`r num ${room("connections", order)}`}>{r.denied > 0 && <span class="pill bad" title="denied">{count(r.denied)}</span>}{r.would_deny > 0 && <span class="pill warn" title="the rules would deny">{count(r.would_deny)}</span>}<span class="after-pill">{count(r.connections)}</span></td>
      <td class={`r num ${room("received", order)}`}>{bytes(r.received)}</td>
      <td class={`r num ${room("sent", order)}`}>{bytes(r.sent)}</td>
      <td class="r num">{bytes(r.received + r.sent)}</td>
      <td class={`r ${room("last", order)}`}><When t={r.last} relative /></td>
      <td class="row-actions">
        {field !== "time" && <>
          <Button icon="plus" label={`Only ${show(value) || "none"}`} bare kind="quiet" onClick={(e) => { e.stopPropagation(); go(withFilter(p, is(field, value))); }} />
          <Button icon="minus" label={`Without ${show(value) || "none"}`} bare kind="quiet" onClick={(e) => { e.stopPropagation(); go(withFilter(p, isNot(field, value))); }} />
        </>}
      </td>
    </tr>
  );
}

function Connections({ query }: { query: URLSearchParams }) {
  const data = useData<Conns>(`/api/connections?${query}&limit=200`);
  return (
    <section class="card flush" aria-label="Connections">
      <Loaded data={data} rows={10}>{(c) => c.rows.length === 0
        ? <Empty title="No connection matches."><p>Remove a filter, or choose a longer range.</p></Empty>
        : <><ConnTable rows={c.rows} caption="Connections, the newest first" />{c.more && <p class="note pad">These are the newest {c.rows.length}. Narrow the range or add a filter to see others, or export them all.</p>}</>}</Loaded>
    </section>
  );
}

function Programs({ span, fresh }: { span: URLSearchParams; fresh: boolean }) {
  const p = usePlace();
  const data = useData<Program[]>(`/api/executables?${span}${fresh ? "&new=1" : ""}&limit=500`);
  return (
    <Card title={fresh ? "Programs never seen before this range" : "Programs"} className="flush"
      extra={<Segments label="Which" value={fresh ? "new" : "all"} options={[["all", "All"], ["new", "New"]]} onPick={(w) => go(changed(p, { new: w === "new" ? "1" : null }))} />}>
      <Loaded data={data} rows={8}>{(list) => list.length === 0 ? <Empty title={fresh ? "No new program talked in this range." : "No program talked in this range."} /> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Table of programs">
          <table>
            <thead><tr><th class="grow">Program</th><th class="wide-only">Package</th><th class="roomy">SHA-256</th><th class="r roomy">First</th><th class="r wide-only">Last</th><th class="r">Total</th></tr></thead>
            <tbody>{list.map((x) => (
              <tr key={x.id} onClick={() => go(changed(p, { open: x.sha256 ? is("sha256", x.sha256) : is("exe", x.path) }))}>
                <td class="grow"><button type="button" class="row-open"><Path path={x.path} view={x.view} /></button></td>
                <td class="wide-only">{x.package ? <span class={x.package.startsWith("modified:") ? "pill bad" : "clip"}>{show(x.package)}</span> : <span class="empty-value">unknown</span>}</td>
                <td class="roomy mono dim">{x.sha256 ? x.sha256.slice(0, 12) : show(x.sha256_reason ?? "")}</td>
                <td class="r roomy"><When t={x.first} relative /></td>
                <td class="r wide-only"><When t={x.last} relative /></td>
                <td class="r num">{bytes(x.sent + x.received)}</td>
              </tr>
            ))}</tbody>
          </table>
        </div>
      )}</Loaded>
    </Card>
  );
}

