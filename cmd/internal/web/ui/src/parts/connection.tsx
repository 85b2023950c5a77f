// One connection of the record: its row, and all that is known of it.

import { type ComponentChildren, Fragment } from "preact";
import { useState } from "preact/hooks";
import { useData } from "../lib/data";
import { is } from "../lib/filter";
import { fleet } from "../lib/fleet";
import { base, bytes, count, countryName, exact, fullTime, seconds, show } from "../lib/format";
import { to, usePlace } from "../lib/route";
import type { Ancestor, Conn, Place } from "../lib/types";
import { Button, Country, Flag, Path, Text, Verdict, When } from "./bits";
import { Icon } from "./icons";
import { DraftDialog, WhyDialog } from "./rules";

const arrows: Record<string, string> = { out: "→", in: "←", listen: "●" };
const directions: Record<string, string> = { out: "to", in: "from", listen: "listens on" };

export const port = (addr: string, n: number): string => (n === 0 ? addr : addr.includes(":") ? `[${addr}]:${n}` : `${addr}:${n}`);

export function Peer({ c }: { c: Conn }) {
  const listens = c.direction === "listen";
  const addr = listens ? c.laddr : c.raddr;
  const n = listens ? c.lport : c.rport;
  return (
    <span class="peer clip" title={show(`${c.domain} ${port(addr, n)}`.trim())}>
      <span class="dim" role="img" aria-label={directions[c.direction] ?? ""}>{arrows[c.direction] ?? "?"}</span> <Flag code={c.country} />
      {c.domain !== "" ? <><bdi class="clip">{show(c.domain)}</bdi><span class="dim port">{n !== 0 ? `:${n}` : ""}</span></> : <bdi class="clip">{addr === "" ? c.family : port(addr, n)}</bdi>}
    </span>
  );
}

/** Where is what the tables say of an address. */
export function Where({ addr }: { addr: string }) {
  const d = useData<Place>(addr ? `/api/place?addr=${encodeURIComponent(addr)}` : "", false);
  const p = d.value;
  if (!p) return null;
  const words = [p.scope ? `${p.scope} address` : "", p.city ? show(p.city) : "", p.country ? countryName(p.country) : "", p.asn ? `AS${p.asn} ${show(p.network ?? "")}`.trim() : ""].filter((w) => w !== "");
  return words.length > 0 ? <><Flag code={p.country ?? ""} />{words.join(", ")}</> : <span class="empty-value">unknown</span>;
}

/** verdict is what a person must know of a row: what was denied, else how it ended. */
export const verdict = (c: Conn): string => (c.action === "deny" || c.action === "alert" ? c.action : c.would === "deny" && c.action !== "deny" ? "would deny" : c.result);

export function VerdictOf({ c }: { c: Conn }) {
  const v = verdict(c);
  if (v === "would deny") return <span class="pill warn">would deny</span>;
  return v === "deny" || v === "alert" ? <Verdict word={v} /> : <span class="dim">{show(v)}</span>;
}

/** ConnTable lists connections; each opens. */
export function ConnTable({ rows, caption }: { rows: Conn[]; caption: string }) {
  const [open, set] = useState("");
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table class="conns">
        <caption class="sr">{caption}</caption>
        <thead><tr><th>Time</th>{fleet && <th>Host</th>}<th>Program</th><th class="roomy">User</th><th>Peer</th><th class="r">Received</th><th class="r">Sent</th><th>State</th></tr></thead>
        <tbody>
          {rows.map((c) => {
            const id = `${c.host ?? ""}/${c.time}/${c.pid}/${c.raddr}/${c.rport}/${c.lport}/${c.proto}`;
            const is = id === open;
            return (
              <Fragment key={id}>
                <tr class={is ? "open" : ""} onClick={() => set(is ? "" : id)}>
                  <td><button type="button" class="row-open" aria-expanded={is} onClick={(e) => { e.stopPropagation(); set(is ? "" : id); }}><When t={c.time} /></button></td>
                  {fleet && <td><Text s={c.host ?? ""} /></td>}
                  <td class="grow"><Path path={c.exe || c.name} view={c.exe_view} /></td>
                  <td class="roomy"><Text s={c.user || String(c.uid)} /></td>
                  <td class="grow"><Peer c={c} /></td>
                  <td class="r num">{bytes(c.received)}</td>
                  <td class="r num">{bytes(c.sent)}</td>
                  <td class="state"><VerdictOf c={c} /></td>
                </tr>
                {is && <tr class="detail"><td colSpan={fleet ? 8 : 7}><ConnDetail c={c} /></td></tr>}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => <div class="fact"><dt>{name}</dt><dd>{children}</dd></div>;

function lineage(c: Conn): Ancestor[] {
  return [c, c.parent, c.grandparent, ...(c.ancestors ?? [])].filter((a): a is Ancestor => a != null);
}

export function ConnDetail({ c }: { c: Conn }) {
  const p = usePlace();
  const [dialog, set] = useState<"" | "why" | "draft">("");
  const decided = c.rule !== "" || (c.action !== "none" && c.action !== "");
  return (
    <div class="conn-detail">
      <div class="actions">
        {!fleet && <Button label="Why?" icon="help" onClick={() => set("why")} disabled={!decided} />}
        {!fleet && <Button label="Draft a rule" icon="policy" onClick={() => set("draft")} />}
        <a class="button quiet" href={to(p, "/explore", { by: "domain", f: is("exe", c.exe) })}><Icon name="explore" size={18} />All of this program</a>
      </div>
      <dl class="facts">
        {fleet && <Fact name="Host"><Text s={c.host ?? ""} /></Fact>}
        <Fact name="Began">{fullTime(c.time)}</Fact>
        <Fact name="Lasted">{seconds(Math.max(0, (new Date(c.last).getTime() - new Date(c.time).getTime()) / 1000))}</Fact>
        <Fact name="Peer">{c.domain !== "" && <><Text s={c.domain} /> <span class="dim">by {show(c.domain_source || "?")}</span><br /></>}<span class="mono">{c.raddr === "" ? "–" : port(c.raddr, c.rport)}</span></Fact>
        <Fact name="Here"><span class="mono">{c.laddr === "" ? "–" : port(c.laddr, c.lport)}</span></Fact>
        <Fact name="Protocol">{show(c.proto)} over {show(c.family)}</Fact>
        {c.sni ? <Fact name="Claimed name"><Text s={c.sni} /></Fact> : null}
        {c.country !== "" && <Fact name="Country then"><Country code={c.country} /></Fact>}
        {c.raddr !== "" && <Fact name="Where"><Where addr={c.raddr} /></Fact>}
        <Fact name="Bytes">{exact(c.received)} received, {exact(c.sent)} sent, {plural(c.packets)}</Fact>
        <Fact name="Result">{show(c.result)}{c.existing ? ", older than snitch" : ""}</Fact>
        <Fact name="Verdict"><Verdict word={c.action} /> {c.would !== c.action && c.would !== "" && <span class="dim">rules said {show(c.would)}</span>}</Fact>
        {c.rule !== "" && <Fact name="Rule">{fleet ? <Text s={c.rule} /> : <a href={to(p, "/policy", { rule: c.rule })}><Text s={c.rule} /></a>}{c.reason ? <> <span class="dim"><Text s={c.reason} /></span></> : null}</Fact>}
        {c.novelty && c.novelty.length > 0 && <Fact name="New">{c.novelty.map(show).join(", ")}</Fact>}
        <Fact name="User"><Text s={c.user} empty="" /> <span class="dim">{c.uid}</span></Fact>
        <Fact name="Process"><span class="num">{c.pid}</span> <Text s={c.name} /></Fact>
        {c.unit !== "" && <Fact name="Unit"><Text s={c.unit} /></Fact>}
        {c.container !== "" && <Fact name="Container"><Text s={c.container} /></Fact>}
        {c.script !== "" && <Fact name="Script"><Text s={c.script} mono /></Fact>}
        {c.package ? <Fact name="Package"><Text s={c.package} /></Fact> : null}
        <Fact name="Command line"><span class="mono wrap">{show(c.cmdline) || "–"}</span></Fact>
      </dl>
      <Lineage steps={lineage(c).map((a) => ({ exe: a.exe, view: a.exe_view, name: a.name, cmdline: a.cmdline, sha256: a.sha256 }))} />
      {dialog === "why" && <WhyDialog query={`time=${encodeURIComponent(c.time)}&rule=${encodeURIComponent(c.rule)}`} title={`Why: ${base(c.exe)} ${c.domain || c.raddr}`} onClose={() => set("")} />}
      {dialog === "draft" && <DraftDialog query={`time=${encodeURIComponent(c.time)}&pid=${c.pid}`} onClose={() => set("")} />}
    </div>
  );
}

const plural = (n: number): string => `${count(n)} packet${n === 1 ? "" : "s"}`;

/** Lineage is a process and who started it, as a tree that stands on its root. */
export function Lineage({ steps }: { steps: { exe: string; view?: string | undefined; name: string; cmdline?: string; sha256: string }[] }) {
  const up = [...steps].reverse();
  return (
    <ol class="lineage" aria-label="Started by, from the first process on">
      {up.map((s, i) => (
        <li key={i} class={i === up.length - 1 ? "self" : ""}>
          <Path path={s.exe || s.name} view={s.view} />
          {s.cmdline ? <span class="mono dim clip" title={show(s.cmdline)}>{show(s.cmdline)}</span> : null}
          {s.sha256 && <span class="mono dim" title={s.sha256}>{s.sha256.slice(0, 12)}</span>}
        </li>
      ))}
    </ol>
  );
}

