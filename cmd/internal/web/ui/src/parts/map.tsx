// Where traffic goes: countries by colour, from few to much.

import { useEffect, useState } from "preact/hooks";
import { bytes, countryName, plural } from "../lib/format";
import { go } from "../lib/route";
import type { Row, World } from "../lib/types";
import { assetURL } from "./bits";

let loading: Promise<World> | undefined;

const load = (): Promise<World> => (loading ??= fetch(assetURL("world.json")).then((r) => r.json() as Promise<World>));

const steps = 6;

/** shade is 1 to steps: each step is about as much more as the one before. */
function shade(n: number, most: number): number {
  if (n <= 0) return 0;
  return Math.max(1, Math.ceil((Math.log(n + 1) / Math.log(most + 1)) ** 3 * steps));
}

export function WorldMap({ rows, href, value, form }: { rows: Row[]; href: (code: string) => string; value: (r: Row) => number; form: (n: number) => string }) {
  const [world, set] = useState<World | null>(null);
  const [over, setOver] = useState<{ code: string; x: number; y: number } | null>(null);
  useEffect(() => {
    let there = true;
    load().then((w) => { if (there) set(w); }, () => undefined);
    return () => { there = false; };
  }, []);
  const by = new Map(rows.map((r) => [r.keys?.[0] ?? "", r]));
  const most = Math.max(1, ...rows.filter((r) => r.keys?.[0]).map(value));
  if (!world) return <div class="map" aria-busy="true" />;
  const land = Object.entries(world.paths);
  const shape = (code: string, child: preact.JSX.Element) => {
    const r = by.get(code);
    if (!r || code === "") return <g key={code} class="land">{child}</g>;
    // A short cut for the mouse: the list of countries has the links.
    return (
      <g key={code} class={`land to s${shade(value(r), most)}`} onClick={() => go(href(code))}
        onMouseMove={(e) => { const b = (e.currentTarget as Element).closest("svg")!.getBoundingClientRect(); setOver({ code, x: e.clientX - b.left, y: e.clientY - b.top }); }}
        onMouseLeave={() => setOver(null)}>{child}</g>
    );
  };
  const known = rows.filter((r) => r.keys?.[0]).length;
  const told = over && by.get(over.code);
  return (
    <div class="map">
      <svg viewBox={`0 0 ${world.width} ${world.height}`} role="img" aria-label={`Map: traffic with ${plural(known, "countr" + (known === 1 ? "y" : "ie")).replace(/ies?s$/, "ies")}; the list of countries has the numbers`}>
        {land.map(([code, d]) => shape(code, <path d={d} />))}
        {Object.entries(world.dots).filter(([code]) => by.has(code)).map(([code, [x, y]]) => shape(code, <circle cx={x} cy={y} r={9} />))}
      </svg>
      {over && told && <Tip x={over.x} y={over.y}><strong>{countryName(over.code)}</strong><span>{form(value(told))}</span><span>{bytes(told.received)} down, {bytes(told.sent)} up</span><span>{plural(told.connections, "connection")}</span></Tip>}
      <div class="map-key" aria-hidden="true"><span>less</span>{Array.from({ length: steps }, (_, i) => <i key={i} class={`s${i + 1}`} />)}<span>more</span></div>
    </div>
  );
}

function Tip({ x, y, children }: { x: number; y: number; children: preact.ComponentChildren }) {
  const place = (el: HTMLDivElement | null): void => {
    if (!el) return;
    const room = el.parentElement!.clientWidth;
    el.style.transform = `translate(${Math.min(x + 14, room - el.offsetWidth - 4)}px, ${y + 14}px)`;
  };
  return <div class="tip map-tip" ref={place} aria-hidden="true">{children}</div>;
}
