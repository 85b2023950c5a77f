// One group from near: what program it is, what it talks to, its connections.

import { useEffect, useRef } from "preact/hooks";
import { useData } from "../lib/data";
import { is, label, negated, parts } from "../lib/filter";
import { bytes, count, plural, show } from "../lib/format";
import { go, usePlace } from "../lib/route";
import type { Conns, Groups, Program, ProgramDetail, Reputation, Series } from "../lib/types";
import { Button, Copy, Empty, Loaded, Path, Text, When } from "./bits";
import { Spark, valuesOf } from "./chart";
import { ConnTable, Lineage, Where } from "./connection";
import { withFilter } from "./filters";
import { Key, TopList } from "./top";

const programFields = new Set(["exe", "sha256"]);

export function Drawer({ filter, query, onClose }: { filter: string; query: URLSearchParams; onClose: () => void }) {
  const p = usePlace();
  const ref = useRef<HTMLElement>(null);
  const { field, value } = parts(filter);
  const q = new URLSearchParams(query);
  q.append("f", filter);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current?.focus();
    return () => before?.focus?.();
  }, [filter]);
  const others = ["exe", "domain", "raddr", "uid", "country"].filter((f) => f !== field && !(field === "sha256" && f === "exe")).slice(0, 3);
  return (
    <aside class="drawer" ref={ref} tabIndex={-1} aria-label={`${label(field)} ${show(value)}`}
      onKeyDown={(e) => { if (e.key === "Escape") { e.stopPropagation(); onClose(); } }}>
      <header class="drawer-head">
        <div><p class="drawer-kind">{label(field)}</p><h2><Key field={field} value={value} /></h2></div>
        <div class="actions">
          <Button icon="plus" label="Only this" onClick={() => go(withFilter(p, filter))} />
          <Button icon="minus" label="Without" onClick={() => go(withFilter(p, negated(filter)))} />
          <Button icon="close" label="Close" bare kind="quiet" onClick={onClose} keys="Escape" />
        </div>
      </header>
      <Sum query={q} />
      {programFields.has(field) && value !== "" && <ProgramPart value={value} />}
      {(field === "raddr" || field === "laddr") && value !== "" && <section><h3>Where</h3><p><Where addr={value} /></p></section>}
      {others.map((f) => <Others key={f} field={f} query={q} />)}
      <section><h3>Recent connections</h3><Recent query={q} /></section>
    </aside>
  );
}

function Sum({ query }: { query: URLSearchParams }) {
  const s = useData<Series>(`/api/series?${query}&points=60`);
  const line = s.value?.lines?.[0];
  if (!line) return null;
  const total = (n: number[]): number => n.reduce((a, b) => a + b, 0);
  return (
    <div class="drawer-sum">
      <div><span class="kpi-name">Connections</span><strong class="num">{count(total(line.connections))}</strong></div>
      <div><span class="kpi-name">Received</span><strong class="num">{bytes(total(line.received))}</strong></div>
      <div><span class="kpi-name">Sent</span><strong class="num">{bytes(total(line.sent))}</strong></div>
      <Spark values={valuesOf(line, "total")} />
    </div>
  );
}

function Others({ field, query }: { field: string; query: URLSearchParams }) {
  const p = usePlace();
  // A name is worth what its source is worth.
  const g = useData<Groups>(`/api/groups?${query}&by=${field}${field === "domain" ? "&by=domain_source" : ""}&limit=6`);
  const rows = g.value?.rows ?? [];
  if (g.value && (rows.length === 0 || (rows.length === 1 && rows[0]!.keys?.[0] === ""))) return null;
  return (
    <section>
      <h3>{label(field)}{g.value && g.value.count > 6 ? <span class="dim"> · {count(g.value.count)}</span> : null}</h3>
      <Loaded data={g} rows={3}>{(v) => <TopList rows={rows} field={field} metric="total" total={v.total.sent + v.total.received} href={(x) => withFilter(p, is(field, x))} empty="none" />}</Loaded>
    </section>
  );
}

function Recent({ query }: { query: URLSearchParams }) {
  const c = useData<Conns>(`/api/connections?${query}&limit=20`);
  return <Loaded data={c}>{(v) => v.rows.length === 0 ? <Empty title="None in this range." /> : <ConnTable rows={v.rows} caption="Recent connections" />}</Loaded>;
}

function ProgramPart({ value }: { value: string }) {
  const d = useData<ProgramDetail>(`/api/executable?key=${encodeURIComponent(value)}`, false);
  return (
    <Loaded data={d} rows={3}>{(x) => (
      <>
        <section>
          <h3>File</h3>
          <dl class="facts">
            <div class="fact"><dt>Path</dt><dd class="mono wrap">{show(x.path)}{x.view ? <span class="tag">{show(x.view)}</span> : null}</dd></div>
            <div class="fact"><dt>SHA-256</dt><dd>{x.sha256 ? <><span class="mono wrap">{x.sha256}</span> <Copy text={x.sha256} /></> : `not known: ${show(x.sha256_reason ?? "")}`}</dd></div>
            <div class="fact"><dt>Package</dt><dd>{x.package ? <span class={x.package.startsWith("modified:") ? "pill bad" : ""}>{show(x.package)}</span> : <span class="empty-value">unknown</span>}</dd></div>
            <div class="fact"><dt>VirusTotal</dt><dd>{x.sha256 ? <VirusTotal sha={x.sha256} /> : "not asked: the digest is not known"}</dd></div>
            <div class="fact"><dt>Seen</dt><dd>first <When t={x.first} />, last <When t={x.last} />, {plural(x.connections, "connection")}</dd></div>
            {(x.names ?? []).length > 0 && <div class="fact"><dt>Called itself</dt><dd>{x.names!.map(show).join(", ")}</dd></div>}
            {(x.scripts ?? []).length > 0 && <div class="fact"><dt>Ran scripts</dt><dd class="mono wrap">{x.scripts!.map(show).join("\n")}</dd></div>}
            {(x.cmdlines ?? []).length > 0 && <div class="fact"><dt>Command lines</dt><dd class="mono wrap">{x.cmdlines!.slice(0, 5).map(show).join("\n")}</dd></div>}
          </dl>
        </section>
        {(x.hashes ?? []).length > 1 && <Versions title="What this path has held" list={x.hashes!} now={x.id} by="hash" />}
        {(x.same_paths ?? []).length > 0 && <Versions title="The same content elsewhere" list={x.same_paths!} now={x.id} by="path" />}
        {(x.lineages ?? []).length > 0 && <section>
          <h3>Started by</h3>
          {x.lineages!.slice(0, 4).map((l, i) => <Lineage key={i} steps={[{ exe: x.path, view: x.view, name: "", sha256: x.sha256 }, ...(l.ancestors ?? [])]} />)}
          {x.lineages!.length > 4 && <p class="note">and in {plural(x.lineages!.length - 4, "other way")}</p>}
        </section>}
      </>
    )}</Loaded>
  );
}

/** What VirusTotal said of a file; the link leaves to it only when a person clicks. */
function VirusTotal({ sha }: { sha: string }) {
  const d = useData<Reputation>(`/api/reputation?sha256=${sha}`);
  const v = d.value;
  const bad = v?.verdict === "malicious" || v?.verdict === "suspicious";
  const words = !v ? "…" : v.off ? "not asked" : v.verdict === "" ? "not asked yet" : v.verdict === "not-found" ? "nobody ever gave it the file" : v.verdict === "uploaded" ? "uploaded, and not looked at yet"
    : `${v.malicious} of ${v.engines} engines call it malicious, ${v.suspicious} suspicious`;
  return (
    <>
      {v && (bad || v.verdict === "clean") && <><span class={`pill ${bad ? "bad" : "good"}`}>{v.verdict}</span> </>}
      <span title={v?.off ? show(v.off) : undefined}>{words}</span>{v && v.verdict !== "" && <span class="dim"> <When t={v.at} relative /></span>}
      {" · "}<a href={`https://www.virustotal.com/gui/file/${sha}`} target="_blank" rel="noreferrer noopener">look it up yourself</a>
    </>
  );
}

function Versions({ title, list, now, by }: { title: string; list: Program[]; now: number; by: "hash" | "path" }) {
  return (
    <section>
      <h3>{title}</h3>
      <ul class="versions">{list.map((x) => (
        <li key={x.id} class={x.id === now ? "self" : ""}>
          {by === "hash" ? <span class="mono" title={x.sha256}>{x.sha256 ? x.sha256.slice(0, 16) : "not hashed"}</span> : <Path path={x.path} view={x.view} />}
          <span class="dim"><When t={x.first} /> – <When t={x.last} /></span>
          {x.package ? <Text s={x.package} /> : null}
        </li>
      ))}</ul>
    </section>
  );
}
