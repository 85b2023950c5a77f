// Rules that a person typed, against what really happened.

import { useRef, useState } from "preact/hooks";
import { asRefusal, post, type Refusal } from "../lib/data";
import { bytes, count, plural, seconds, show } from "../lib/format";
import { spanOf, usePlace } from "../lib/route";
import type { Group, PolicyPage, Report, Trial } from "../lib/types";
import { Button, Card, Empty, Failure, Segments, Text, Verdict } from "./bits";
import { rangeLabel } from "./range";

const example = `version: 1

rules:
  - id: example
    action: deny
    process: {exe: /usr/bin/curl}
    to: {host: .example.org, port: 443}
`;

/** bounds is the range in the form that the server takes. */
function bounds(q: URLSearchParams): { since?: string; until?: string } {
  const time = (ms: number): string => new Date(ms).toISOString();
  if (q.get("since")) return { since: time(Number(q.get("since"))), until: time(Number(q.get("until"))) };
  const m = /^(\d+)([mhd])$/.exec(q.get("last") ?? "");
  return m ? { since: time(Date.now() - Number(m[1]) * { m: 60e3, h: 3600e3, d: 86400e3 }[m[2] as "m" | "h" | "d"]) } : {};
}

export function TryPanel({ current }: { current: PolicyPage | undefined }) {
  const p = usePlace();
  const [text, setText] = useState(() => sessionStorage.getItem("candidate") ?? example);
  const [add, setAdd] = useState<"add" | "replace">("add");
  const [trial, setTrial] = useState<Trial | null>(null);
  const [error, setError] = useState<Refusal | null>(null);
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  const run = (): void => {
    stop.current?.abort();
    const mine = (stop.current = new AbortController());
    setBusy(true);
    setError(null);
    sessionStorage.setItem("candidate", text);
    post<Trial>("/api/try", { text, add: add === "add", ...bounds(spanOf(p)) }, mine.signal).then(setTrial, (e: unknown) => {
      if (!mine.signal.aborted) {
        setTrial(null);
        setError(asRefusal(e));
      }
    }).finally(() => { if (stop.current === mine) setBusy(false); });
  };
  return (
    <Card title="Try rules against history" className="try">
      <p class="note">Decides again what was recorded ({rangeLabel(p)}). Nothing is changed.</p>
      <label for="candidate" class="sr">Rules to try</label>
      <textarea id="candidate" class="mono" rows={Math.min(22, Math.max(9, text.split("\n").length + 1))} spellcheck={false} value={text} onInput={(e) => setText(e.currentTarget.value)} />
      <div class="actions">
        <Segments label="How" value={add} options={[["add", "Beside the rules in use"], ["replace", "In place of them"]]} onPick={setAdd} />
        {add === "replace" && current && current.files.length === 1 && <Button label="Begin with the rules in use" kind="quiet" onClick={() => setText(current.files[0]!.text)} />}
        {busy ? <Button label="Stop" onClick={() => { stop.current?.abort(); setBusy(false); }} /> : <Button icon="play" label="Try" kind="primary" onClick={run} />}
        {busy && <span role="status" class="dim">Reading history…</span>}
      </div>
      {error && <Failure error={error} />}
      {trial && <Result t={trial} />}
    </Card>
  );
}

function Result({ t }: { t: Trial }) {
  if (t.faults.length > 0) {
    return <div class="failure" role="alert"><strong>These rules do not load.</strong><pre class="faults">{t.faults.map(show).join("\n")}</pre></div>;
  }
  return (
    <div class="trial" role="status">
      {t.rules.length > 0 && <p class="facts-line">{t.rules.slice(0, 12).map((c) => <span key={c.id + c.how}><span class={`sign ${c.how}`}>{c.how === "added" ? "+" : c.how === "removed" ? "−" : "~"}</span> <Text s={c.id} mono /></span>)}{t.rules.length > 12 && <span class="dim">and {t.rules.length - 12} more</span>}</p>}
      {t.report && <ReportView r={t.report} took={t.took} />}
    </div>
  );
}

function ReportView({ r, took }: { r: Report; took: number }) {
  const parts: [string, string, Group[] | null][] = [["Newly denied", "bad", r.newly_denied], ["Newly alerting", "warn", r.newly_alerting], ["Newly allowed", "good", r.newly_allowed], ["By another rule", "plain", r.by_another_rule]];
  const differs = parts.some(([, , g]) => (g ?? []).length > 0);
  return (
    <>
      <p class="facts-line"><span><strong class="num">{count(r.rows.connections)}</strong> connections read</span><span><strong class="num">{count(r.same.connections)}</strong> decided as before</span>
        {(r.undecidable ?? []).map((u) => <span key={u.cause} class="dim">{count(u.connections)} undecidable: {show(u.cause)}</span>)}<span class="dim">{seconds(took)}</span></p>
      {r.rows.connections === 0 && <Empty title="There is no history in this range." />}
      {r.rows.connections > 0 && !differs && <Empty title="Nothing would have changed." />}
      {parts.map(([title, tone, groups]) => (groups ?? []).length > 0 && <Part key={title} title={title} tone={tone} groups={groups!} />)}
    </>
  );
}

function Part({ title, tone, groups }: { title: string; tone: string; groups: Group[] }) {
  const sum = groups.reduce((s, g) => s + g.connections, 0);
  return (
    <section>
      <h3><span class={`pill ${tone}`}>{title}</span> <span class="dim">{plural(sum, "connection")}</span></h3>
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table>
          <thead><tr><th class="grow">Program</th><th class="grow">Destination</th><th class="r">Connections</th><th class="r wide-only">Bytes</th><th>Before</th><th>After</th></tr></thead>
          <tbody>{groups.slice(0, 50).map((g, i) => (
            <tr key={i}><td class="grow"><Text s={g.program} /></td><td class="grow"><Text s={g.destination} /></td><td class="r num">{count(g.connections)}</td><td class="r num wide-only">{bytes(g.sent + g.received)}</td>
              <td><Verdict word={g.before} /> <span class="dim"><Text s={g.rule_before} empty="no rule" /></span></td><td><Verdict word={g.after} /> <span class="dim"><Text s={g.rule_after} empty="no rule" /></span></td></tr>
          ))}</tbody>
        </table>
      </div>
      {groups.length > 50 && <p class="note">and {groups.length - 50} more</p>}
    </section>
  );
}
