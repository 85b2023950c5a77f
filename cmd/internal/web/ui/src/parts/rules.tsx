// Why the rules said what they said, and a rule to begin with.

import { useState } from "preact/hooks";
import { useData } from "../lib/data";
import { show } from "../lib/format";
import { go, to, usePlace } from "../lib/route";
import type { Draft, Why } from "../lib/types";
import { Button, Copy, Dialog, Loaded, Segments } from "./bits";

export function WhyDialog({ query, title, onClose }: { query: string; title: string; onClose: () => void }) {
  const data = useData<Why>(`/api/why?${query}`, false);
  return (
    <Dialog title={show(title)} onClose={onClose} wide>
      <Loaded data={data} rows={6}>{(w) => (
        <>
          <pre class="why" tabIndex={0}>{w.text.split("\n").map(show).join("\n")}</pre>
          <p class="note">{w.then ? "By the rules that decided it" : "By the rules that hold now: the record does not keep those that decided it"}{w.revision && <>, revision <span class="mono">{show(w.revision)}</span></>}.</p>
        </>
      )}</Loaded>
    </Dialog>
  );
}

type Action = "allow" | "alert" | "deny";

export function DraftDialog({ query, onClose, first = "allow" }: { query: string; onClose: () => void; first?: Action }) {
  const [action, set] = useState<Action>(first);
  const p = usePlace();
  const data = useData<Draft>(`/api/draft?${query}&action=${action}`, false);
  return (
    <Dialog title="Draft a rule" onClose={onClose} wide>
      <div class="actions">
        <Segments label="What the rule says" value={action} options={[["allow", "Allow"], ["alert", "Alert"], ["deny", "Deny"]]} onPick={set} />
      </div>
      <Loaded data={data} rows={6}>{(d) => (
        <>
          <pre class="code" tabIndex={0} aria-label="The rule">{d.text}</pre>
          <p class="note">It matches this program talking to this peer, and no more. Save it as <span class="mono">{show(d.file)}</span> in the directory of rules; <span class="mono">snitch policy check</span> and <span class="mono">sudo systemctl reload snitch</span> do the rest.</p>
          <div class="actions">
            <Copy text={d.text} label="Copy the rule" />
            <Button icon="policy" label="Try it against history" kind="primary" onClick={() => {
              sessionStorage.setItem("candidate", d.text);
              onClose();
              go(to(p, "/policy", { try: "1" }));
            }} />
          </div>
        </>
      )}</Loaded>
    </Dialog>
  );
}
