// What happens now.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useData } from "../lib/data";
import { bytes, count, plural } from "../lib/format";
import { useLive } from "../lib/live";
import { usePlace } from "../lib/route";
import type { Conn, Conns, LiveMessage } from "../lib/types";
import { Button, Card, Empty } from "../parts/bits";
import { ConnTable, port } from "../parts/connection";
import { FilterBar, filtersOf } from "../parts/filters";
import { LiveDot } from "../parts/livestrip";

const kept = 300;
const seconds = 120;

/** Rates are bytes in each of the last seconds, from what connections grew by. */
class Rates {
  private readonly last = new Map<string, number>();
  readonly received = new Array<number>(seconds).fill(0);
  readonly sent = new Array<number>(seconds).fill(0);
  private at = Math.floor(Date.now() / 1000);

  add(rows: LiveMessage[]): void {
    this.advance();
    for (const m of rows) {
      const key = `${m.id}/${m.record.time}`;
      this.grow(`${key}/r`, m.record.received, this.received, m);
      this.grow(`${key}/s`, m.record.sent, this.sent, m);
    }
    if (this.last.size > 50_000) this.last.clear();
  }

  private grow(key: string, now: number, to: number[], m: LiveMessage): void {
    const before = this.last.get(key);
    // Of a connection from before the page nobody knows when its bytes moved.
    const fresh = Date.now() - new Date(m.record.time).getTime() < 3000;
    if (before !== undefined || fresh) to[seconds - 1]! += Math.max(0, now - (before ?? 0));
    if (m.closed) this.last.delete(key);
    else this.last.set(key, now);
  }

  advance(): void {
    const now = Math.floor(Date.now() / 1000);
    for (let i = 0; i < Math.min(seconds, now - this.at); i++) {
      for (const list of [this.received, this.sent]) {
        list.shift();
        list.push(0);
      }
    }
    this.at = now;
  }
}

export function LivePage() {
  const p = usePlace();
  const filters = filtersOf(p);
  const [paused, setPaused] = useState(false);
  const [find, setFind] = useState("");
  const rates = useMemo(() => new Rates(), [filters.join("\n")]);
  const live = useLive(filters, kept, paused, (rows) => rates.add(rows));
  const query = new URLSearchParams({ last: "15m", limit: "60" });
  for (const f of filters) query.append("f", f);
  const past = useData<Conns>(`/api/connections?${query}`, false);
  const rows = useMemo(() => joined(live.rows.map((m) => m.record), past.value?.rows ?? []).filter((c) => matches(c, find)), [live.rows, past.value, find]);
  return (
    <div class="live-page">
      <div class="toolbar">
        <span class="live-state" role="status"><LiveDot on={live.state.connected} />{live.state.connected ? paused ? "Paused" : "Live" : live.state.why ?? "Connecting"}</span>
        <Button icon={paused ? "play" : "pause"} label={paused ? "Go on" : "Pause"} onClick={() => setPaused(!paused)} pressed={paused} keys="p" />
        <label class="find-rows">Find in rows<input type="search" value={find} onInput={(e) => setFind(e.currentTarget.value)} placeholder="any text" /></label>
        <span class="dim num">{plural(live.seen, "connection")} since you look{live.lost > 0 && <span class="pill warn" title="This page or snitch web was too slow for them; the record has them">{count(live.lost)} not shown</span>}</span>
      </div>
      <FilterBar />
      <RateChart rates={rates} />
      <section class="card flush" aria-label="Connections as they happen">
        {rows.length === 0
          ? <Empty title={find || filters.length ? "Nothing matches yet." : "Nobody talks right now."}>{!live.state.connected && <p>Start the daemon with <span class="mono">sudo snitch run</span>: this page goes on by itself.</p>}</Empty>
          : <ConnTable rows={rows} caption="Connections, the newest first" />}
      </section>
    </div>
  );
}

/** joined puts what happens before what was recorded; both tell some connections. */
function joined(live: Conn[], past: Conn[]): Conn[] {
  const key = (c: Conn): string => `${c.time}/${c.pid}/${c.proto}/${c.raddr}/${c.rport}/${c.lport}`;
  const seen = new Set(live.map(key));
  return [...live, ...past.filter((c) => !seen.has(key(c)))].sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0)).slice(0, kept);
}

function matches(c: Conn, find: string): boolean {
  if (find === "") return true;
  const hay = `${c.exe}\n${c.name}\n${c.cmdline}\n${c.user}\n${c.domain}\n${port(c.raddr, c.rport)}\n${c.country}\n${c.result}\n${c.rule}\n${c.proto}`.toLowerCase();
  return hay.includes(find.toLowerCase());
}

function RateChart({ rates }: { rates: Rates }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const [now, setNow] = useState({ received: 0, sent: 0 });
  useEffect(() => {
    const draw = (): void => {
      rates.advance();
      paint(ref.current, rates);
      // The second that runs is not over: tell the one before.
      setNow({ received: rates.received[seconds - 2] ?? 0, sent: rates.sent[seconds - 2] ?? 0 });
    };
    draw();
    const t = setInterval(draw, 1000);
    return () => clearInterval(t);
  }, [rates]);
  return (
    <Card title="Rate" extra={<div class="rates"><span><i class="swatch s0" aria-hidden="true" />Received <strong class="num">{bytes(now.received)}/s</strong></span><span><i class="swatch s1" aria-hidden="true" />Sent <strong class="num">{bytes(now.sent)}/s</strong></span></div>}>
      <canvas ref={ref} class="rate" role="img" aria-label="Bytes per second in the last two minutes" />
    </Card>
  );
}

function paint(canvas: HTMLCanvasElement | null, r: Rates): void {
  const c = canvas?.getContext("2d");
  if (!canvas || !c) return;
  const width = canvas.clientWidth * devicePixelRatio;
  const height = canvas.clientHeight * devicePixelRatio;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const css = getComputedStyle(document.documentElement);
  c.clearRect(0, 0, width, height);
  const most = Math.max(1000, ...r.received, ...r.sent);
  const middle = height / 2;
  const step = width / seconds;
  const bar = (list: number[], colour: string, up: boolean): void => {
    c.fillStyle = css.getPropertyValue(colour).trim();
    list.forEach((n, i) => {
      const h = (n / most) * (middle - 4 * devicePixelRatio);
      c.fillRect(i * step, up ? middle - h : middle, Math.max(1, step - devicePixelRatio), h);
    });
  };
  bar(r.received, "--s0", true);
  bar(r.sent, "--s1", false);
  c.fillStyle = css.getPropertyValue("--line-strong").trim();
  c.fillRect(0, middle, width, devicePixelRatio);
}
