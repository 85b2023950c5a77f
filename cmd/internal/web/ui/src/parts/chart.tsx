// Stacked traffic over time: uPlot draws, we add up, explain and zoom.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { axisTime, bytes, count, spanTime } from "../lib/format";
import type { Line, Series } from "../lib/types";
import { useThemeName } from "./theme";

export type Metric = "total" | "received" | "sent" | "connections";

export const metrics: readonly (readonly [Metric, string])[] = [["total", "Total"], ["received", "Received"], ["sent", "Sent"], ["connections", "Connections"]];

export function valuesOf(l: Line, m: Metric): number[] {
  return m === "total" ? l.sent.map((n, i) => n + (l.received[i] ?? 0)) : l[m];
}

/** colour is the name of the variable of layer i; what is left over is grey. */
export const colour = (i: number, other?: boolean): string => (other ? "--s-other" : `--s${i % 7}`);

interface Layer {
  name: string;
  own: number[];
  colour: string;
}

interface Props {
  series: Series;
  metric: Metric;
  name: (l: Line) => string;
  height: number;
  onZoom: (since: number, until: number) => void;
  label: string;
}

export function StackedChart({ series, metric, name, height, onZoom, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const theme = useThemeName();
  const [at, setAt] = useState<{ i: number; x: number; right: boolean } | null>(null);
  const times = useMemo(() => (series.times ?? []).map((t) => new Date(t).getTime() / 1000), [series]);
  const layers = useMemo<Layer[]>(
    () => (series.lines ?? []).map((l, i) => ({ name: name(l), own: valuesOf(l, metric), colour: colour(i, l.other) })), [series, metric]);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;

  useEffect(() => {
    const el = box.current!;
    const css = getComputedStyle(document.documentElement);
    const of = (v: string): string => css.getPropertyValue(v).trim();
    const plot = new uPlot(options(el.clientWidth, height, layers, series.width, metric, of, (u) => {
      const i = u.cursor.idx;
      const left = u.cursor.left ?? -1;
      setAt(i == null || left < 0 ? null : { i, x: u.valToPos(u.data[0]![i]!, "x") + u.bbox.left / devicePixelRatio, right: left > u.width * 0.6 });
    }, (a, b) => zoom.current(a * 1000, b * 1000)), stacked(times, layers), el);
    const watch = new ResizeObserver(() => plot.setSize({ width: el.clientWidth, height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [times, layers, theme, height]);

  return (
    <div class="chart">
      <div ref={box} class="chart-box" role="img" aria-label={label} />
      {at && times[at.i] !== undefined && <Tip layers={layers} i={at.i} x={at.x} right={at.right} metric={metric} title={spanTime(times[at.i]! * 1000, series.width)} />}
    </div>
  );
}

function Tip({ layers, i, x, right, metric, title }: { layers: Layer[]; i: number; x: number; right: boolean; metric: Metric; title: string }) {
  const form = metric === "connections" ? count : bytes;
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // Through the object model: a style attribute would be against the policy.
    ref.current!.style.transform = `translateX(${right ? x - ref.current!.offsetWidth - 12 : x + 12}px)`;
  });
  const shown = layers.map((l) => ({ ...l, v: l.own[i] ?? 0 })).filter((l) => l.v > 0);
  const sum = shown.reduce((s, l) => s + l.v, 0);
  return (
    <div ref={ref} class="tip" aria-hidden="true">
      <div class="tip-head"><span>{title}</span><strong>{form(sum)}</strong></div>
      {shown.map((l) => <div class="tip-row" key={l.colour}><Swatch v={l.colour} /><span class="clip">{l.name}</span><span class="num">{form(l.v)}</span></div>)}
    </div>
  );
}

export const Swatch = ({ v }: { v: string }) => <i class={`swatch ${v.slice(2)}`} aria-hidden="true" />;

/** stacked are the columns for uPlot: the tallest first, so that the others lie over it. */
function stacked(times: number[], layers: Layer[]): uPlot.AlignedData {
  const columns: number[][] = [];
  const sum = new Array<number>(times.length).fill(0);
  for (const l of layers) {
    for (let i = 0; i < times.length; i++) sum[i]! += l.own[i] ?? 0;
    columns.push([...sum]);
  }
  return [times, ...columns.reverse()];
}

/** beyond reports whether a label at this time would be cut by the right edge. */
const beyond = (u: uPlot, time: number): boolean => u.valToPos(time, "x") > u.bbox.width / devicePixelRatio - 16;

function options(width: number, height: number, layers: Layer[], bucket: number, metric: Metric, css: (v: string) => string, moved: (u: uPlot) => void,
  zoomed: (a: number, b: number) => void): uPlot.Options {
  const form = metric === "connections" ? count : bytes;
  const axis = { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: `12px ${css("--font")}` };
  const bars = uPlot.paths.bars!({ size: [0.86, 40], align: 1 });
  return {
    width, height, padding: [8, 8, 0, 0], legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true, range: (_, min, max) => [min, max + bucket] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.06 : 1] } },
    axes: [
      { ...axis, space: 72, size: 28, gap: 6, grid: { show: false }, values: (u, splits) => splits.map((s, i) => (beyond(u, s) ? "" : axisTime(s * 1000, i > 0 ? s - splits[i - 1]! : (splits[1] ?? s + bucket) - s))) },
      { ...axis, size: 68, gap: 6, space: 36, values: (_, splits) => splits.map(form), ...(metric === "connections" ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6] } : {}) },
    ],
    series: [{}, ...layers.map((l) => ({ fill: css(l.colour), stroke: css(l.colour), width: 0, paths: bars, points: { show: false } })).reverse()],
    hooks: {
      setCursor: [moved],
      setSelect: [(u) => {
        if (u.select.width > 4) zoomed(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      }],
    },
  };
}

/** Legend names the layers; each is a link to what it stands for. */
export function Legend({ series, metric, name, href }: { series: Series; metric: Metric; name: (l: Line) => string; href: (l: Line) => string | null }) {
  const form = metric === "connections" ? count : bytes;
  return (
    <ul class="legend">
      {(series.lines ?? []).map((l, i) => {
        const to = href(l);
        const inner = <><Swatch v={colour(i, l.other)} /><span class="clip">{name(l)}</span><span class="num">{form(valuesOf(l, metric).reduce((a, b) => a + b, 0))}</span></>;
        return <li key={i}>{to ? <a href={to}>{inner}</a> : <span>{inner}</span>}</li>;
      })}
    </ul>
  );
}

/** Spark is a line without axes. */
export function Spark({ values }: { values: number[] }) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 1);
  const step = 100 / (values.length - 1);
  const points = values.map((v, i) => `${(i * step).toFixed(1)},${(23 - (v / most) * 21).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <path class="spark-area" d={`M0,24L${points.join("L")}L100,24z`} />
      <path class="spark-line" d={`M${points.join("L")}`} />
    </svg>
  );
}
