// A view as a file.

import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons";

export function ExportMenu({ query, by }: { query: URLSearchParams; by: string[] }) {
  const [open, set] = useState(false);
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (e: Event): void => { if (!ref.current?.contains(e.target as Node)) set(false); };
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  const link = (format: string, groups: boolean): string => {
    const q = new URLSearchParams(query);
    q.set("format", format);
    if (groups) for (const b of by) q.append("by", b);
    return `/api/export?${q}`;
  };
  const item = (text: string, format: string, groups: boolean) => <li><a href={link(format, groups)} download="" onClick={() => set(false)}>{text}</a></li>;
  return (
    <div class="menu" ref={ref} onKeyDown={(e) => { if (e.key === "Escape") set(false); }}>
      <button type="button" class="plain" aria-expanded={open} aria-controls="export-menu" onClick={() => set(!open)}><Icon name="export" size={18} /><span>Export</span></button>
      <ul id="export-menu" hidden={!open}>
        {by.length > 0 && item("Groups as CSV", "csv", true)}
        {by.length > 0 && item("Groups as JSON lines", "json", true)}
        {item("Connections as CSV", "csv", false)}
        {item("Connections as JSON lines", "json", false)}
      </ul>
    </div>
  );
}
