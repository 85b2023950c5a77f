// Small parts that every page uses.

import { type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, type Data, type Refusal } from "../lib/data";
import { ago, base, bytes, countryName, fullTime, show, stamp } from "../lib/format";
import { Icon, type IconName } from "./icons";

const assets = document.documentElement.dataset["assets"] ?? "";

export function Flag({ code }: { code: string }) {
  if (!/^[A-Z]{2}$/.test(code)) return <span class="flag none" aria-hidden="true" />;
  return <img class="flag" src={`${assets}/flags/${code}.svg`} width={18} height={12} alt="" loading="lazy" />;
}

export const assetURL = (name: string): string => `${assets}/${name}`;

/** Text is hostile text, of which at least the end is seen. */
export function Text({ s, empty = "none", mono = false }: { s: string; empty?: string; mono?: boolean }) {
  if (s === "") return <span class="empty-value">{empty}</span>;
  const text = show(s);
  return <span class={mono ? "clip mono" : "clip"} title={text}><bdi>{text}</bdi></span>;
}

/** Path shows the name large and where it lies small. */
export function Path({ path, view }: { path: string; view?: string | undefined }) {
  if (path === "") return <span class="empty-value">unknown program</span>;
  const text = show(path);
  const name = base(text);
  const dir = text.slice(0, text.length - name.length);
  return (
    <span class="path clip" title={view ? `${text} in ${show(view)}` : text}>
      <bdi class="path-name">{name}</bdi>
      {dir !== "" && <bdi class="path-dir">{dir}</bdi>}
      {view ? <span class="tag">{show(view)}</span> : null}
    </span>
  );
}

export function Country({ code }: { code: string }) {
  return <span class="country clip"><Flag code={code} />{countryName(code)}</span>;
}

export function When({ t, relative = false }: { t?: string | undefined; relative?: boolean }) {
  return <time dateTime={t ?? ""} title={fullTime(t)}>{relative ? ago(t) : stamp(t)}</time>;
}

export const Up = ({ n }: { n: number }) => <span class={n === 0 ? "num zero" : "num"}>{bytes(n)}</span>;

const tones: Record<string, string> = { deny: "bad", denied: "bad", alert: "warn", allow: "good", error: "bad", config: "warn", undecided: "plain", none: "plain" };

export function Verdict({ word }: { word: string }) {
  return <span class={`pill ${tones[word] ?? "plain"}`}>{show(word) || "–"}</span>;
}

export function Button(p: { icon?: IconName; label: string; onClick: (e: MouseEvent) => void; kind?: "primary" | "quiet" | "danger"; bare?: boolean; disabled?: boolean; pressed?: boolean; keys?: string }) {
  const title = p.keys ? `${p.label} (${p.keys})` : p.bare ? p.label : undefined;
  return (
    <button type="button" class={`${p.kind ?? "plain"}${p.bare ? " bare" : ""}`} onClick={p.onClick} disabled={p.disabled} title={title}
      aria-label={p.bare ? p.label : undefined} aria-pressed={p.pressed} aria-keyshortcuts={p.keys}>
      {p.icon && <Icon name={p.icon} size={18} />}
      {!p.bare && <span>{p.label}</span>}
    </button>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, set] = useState(false);
  return (
    <Button icon={done ? "check" : "copy"} label={done ? "Copied" : label} kind="quiet"
      onClick={() => {
        navigator.clipboard?.writeText(text).then(() => {
          set(true);
          setTimeout(() => set(false), 1500);
        }, () => say("The browser did not let the page copy: select the text instead."));
      }} />
  );
}

export function Card({ title, extra, children, className = "" }: { title: string; extra?: ComponentChildren; children: ComponentChildren; className?: string }) {
  return (
    <section class={`card ${className}`} aria-label={title}>
      <header class="card-head"><h2>{title}</h2>{extra}</header>
      {children}
    </section>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return <div class="empty"><p class="empty-title">{title}</p>{children && <div class="empty-text">{children}</div>}</div>;
}

export function Failure({ error }: { error: Refusal }) {
  return (
    <div class="failure" role="alert">
      <strong>{error.message}</strong>
      {error.hint && <span> {error.hint}</span>}
    </div>
  );
}

/** Loaded shows an answer, why there is none, or that it is awaited. */
export function Loaded<T>({ data, children, rows = 4 }: { data: Data<T>; children: (v: T) => ComponentChildren; rows?: number }) {
  return (
    <>
      {data.error && <Failure error={data.error} />}
      {data.value !== undefined ? children(data.value) : !data.error && (
        <div class="skeleton" aria-busy="true" aria-label="Loading">{Array.from({ length: rows }, (_, i) => <div key={i} />)}</div>
      )}
    </>
  );
}

export function Segments<T extends string>({ label, value, options, onPick }: { label: string; value: T; options: readonly (readonly [T, ComponentChildren])[]; onPick: (v: T) => void }) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([v, text]) => <button type="button" key={v} aria-pressed={v === value} onClick={() => onPick(v)}>{text}</button>)}
    </div>
  );
}

/** Dialog is modal; Escape and a click beside it close it. */
export function Dialog({ title, onClose, children, wide = false }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const d = ref.current!;
    if (!d.open) d.showModal();
    return () => d.close();
  }, []);
  return (
    <dialog ref={ref} class={wide ? "wide" : ""} aria-label={title}
      onCancel={(e: Event) => { e.preventDefault(); onClose(); }}
      onClick={(e: MouseEvent) => { if (e.target === ref.current) onClose(); }}>
      <div class="dialog-body">
        <header class="card-head"><h2>{title}</h2><Button icon="close" label="Close" bare kind="quiet" onClick={onClose} /></header>
        {children}
      </div>
    </dialog>
  );
}

/** useAction runs what a button orders, once at a time, and says how it went. */
export function useAction(): [boolean, (f: () => Promise<string | void>) => void] {
  const [busy, set] = useState(false);
  const run = (f: () => Promise<string | void>): void => {
    if (busy) return;
    set(true);
    f().then((word) => { if (word) say(word); }, (e: unknown) => {
      const r = asRefusal(e);
      say(r.hint ? `${r.message} ${r.hint}` : r.message, true);
    }).finally(() => set(false));
  };
  return [busy, run];
}

let speak: (text: string, bad: boolean) => void = () => undefined;

/** say tells the person something, for a moment, and screen readers too. */
export const say = (text: string, bad = false): void => speak(text, bad);

export function Toasts() {
  const [toast, set] = useState<{ text: string; bad: boolean; n: number } | null>(null);
  useEffect(() => {
    let n = 0;
    speak = (text, bad) => set({ text, bad, n: ++n });
  }, []);
  useEffect(() => {
    if (!toast) return;
    const t = setTimeout(() => set(null), 5000);
    return () => clearTimeout(t);
  }, [toast]);
  return <div class="toasts" role="status" aria-live="polite">{toast && <div class={toast.bad ? "toast bad" : "toast"}>{toast.text}</div>}</div>;
}
