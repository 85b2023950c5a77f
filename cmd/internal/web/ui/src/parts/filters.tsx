// The filters of a view, as chips, and the field to add one.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useData } from "../lib/data";
import { label, negated, parts } from "../lib/filter";
import { countryName, show } from "../lib/format";
import { changed, go, type Place, usePlace } from "../lib/route";
import type { Field } from "../lib/types";
import { Icon } from "./icons";

export const filtersOf = (p: Place): string[] => p.params.getAll("f");

/** withFilter is the address with one more filter. */
export const withFilter = (p: Place, filter: string, path = p.path): string =>
  changed(p, { f: [...filtersOf(p).filter((f) => f !== filter && f !== negated(filter)), filter], offset: null, open: null }, path);

export function setFilters(p: Place, list: string[]): void {
  go(changed(p, { f: list, offset: null }));
}

function Chip({ filter, onFlip, onDrop }: { filter: string; onFlip: () => void; onDrop: () => void }) {
  const { field, op, value } = parts(filter);
  const shown = value === "" ? "none" : field === "country" ? countryName(value) : show(value);
  return (
    <span class={op === "is not" || op === "excludes" ? "chip not" : "chip"}>
      <button type="button" class="chip-text" onClick={onFlip} title={`${show(filter)}: click for the opposite`}>
        {field && <span class="dim">{label(field)} {op} </span>}<bdi class="clip">{shown}</bdi>
      </button>
      <button type="button" class="chip-drop" aria-label={`Remove filter ${show(filter)}`} onClick={onDrop}><Icon name="close" size={14} /></button>
    </span>
  );
}

export function FilterBar() {
  const p = usePlace();
  const list = filtersOf(p);
  return (
    <div class="filters">
      <FilterInput onAdd={(f) => go(withFilter(p, f))} />
      {list.map((f, i) => (
        <Chip key={f} filter={f} onFlip={() => setFilters(p, list.map((x, j) => (i === j ? negated(x) : x)))} onDrop={() => setFilters(p, list.filter((_, j) => i !== j))} />
      ))}
      {list.length > 1 && <button type="button" class="quiet" onClick={() => setFilters(p, [])}>Clear all</button>}
    </div>
  );
}

/** toFilter makes a filter of what a person typed: words alone look in the program's path. */
export function toFilter(text: string): string {
  const t = text.trim();
  if (/^!?[a-z0-9_.]+(!?=|!?~)/i.test(t)) return t;
  if (/^(\d{1,3}\.){3}\d{1,3}(\/\d+)?$/.test(t) || /^[0-9a-f:]*:[0-9a-f:]+(\/\d+)?$/i.test(t)) return `raddr=${t}`;
  if (/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(t) && !t.includes("/")) return `domain=.${t}`;
  return `exe~${t.replace(/[\\,]/g, (c) => `\\${c}`)}`;
}

function FilterInput({ onAdd }: { onAdd: (filter: string) => void }) {
  const [text, set] = useState("");
  const [at, setAt] = useState(-1);
  const fields = useData<Field[]>("/api/fields", false);
  const ref = useRef<HTMLInputElement>(null);
  const offered = useMemo(() => {
    const word = text.trim().replace(/^!/, "").toLowerCase();
    if (!word || /[=~]/.test(word)) return [];
    return (fields.value ?? []).filter((f) => f.name.includes(word) || label(f.name).toLowerCase().includes(word))
      .sort((a, b) => Number(b.name.startsWith(word)) - Number(a.name.startsWith(word)) || a.name.length - b.name.length).slice(0, 8);
  }, [text, fields.value]);
  useEffect(() => setAt(-1), [text]);
  const take = (f: Field): void => {
    set(`${f.name}=`);
    ref.current?.focus();
  };
  const submit = (): void => {
    if (at >= 0 && offered[at]) take(offered[at]);
    else if (text.trim()) {
      onAdd(toFilter(text));
      set("");
    }
  };
  return (
    <div class="filter-input">
      <Icon name="explore" size={16} />
      <input ref={ref} id="find" type="text" value={text} placeholder="Filter: curl, .github.com, 10.0.0.0/8, user=bob" aria-label="Add a filter" autocomplete="off" spellcheck={false}
        role="combobox" aria-expanded={offered.length > 0} aria-controls="offered" aria-autocomplete="list" aria-activedescendant={at >= 0 ? `offer-${at}` : undefined}
        onInput={(e) => set(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter") submit();
          else if (e.key === "ArrowDown" && offered.length) setAt((at + 1) % offered.length);
          else if (e.key === "ArrowUp" && offered.length) setAt(at <= 0 ? offered.length - 1 : at - 1);
          else if (e.key === "Escape") { set(""); ref.current?.blur(); } else return;
          e.preventDefault();
        }} />
      <ul id="offered" role="listbox" aria-label="Fields" class="offers" hidden={offered.length === 0}>
        {offered.map((f, i) => (
          <li key={f.name} id={`offer-${i}`} role="option" aria-selected={i === at} onMouseDown={(e) => { e.preventDefault(); take(f); }}>
            <span class="mono">{f.name}</span><span class="dim clip">{f.help}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

