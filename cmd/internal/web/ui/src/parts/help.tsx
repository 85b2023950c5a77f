// What the keys do, and where this comes from.

import { assetURL, Dialog } from "./bits";

const keys: [string[], string][] = [
  [["g", "o"], "Overview"], [["g", "e"], "Explore"], [["g", "l"], "Live"], [["g", "a"], "Alerts"], [["g", "p"], "Policy"], [["g", "h"], "Health"],
  [["/"], "Filter or find"], [["["], "Earlier"], [["]"], "Later"], [["r"], "Refresh"], [["p"], "Pause (Live)"], [["j"], "Next row"], [["k"], "Row before"], [["Enter"], "Open the row"],
  [["e"], "Acknowledge the alert"], [["x"], "Pick the alert"], [["Esc"], "Close"], [["?"], "This help"],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Help" onClose={onClose} wide>
      <dl class="keys">{keys.map(([k, what]) => <div key={what}><dt>{k.map((x) => <kbd key={x}>{x}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
      <h3>Filters</h3>
      <p>As in <code>snitch log</code>: <code>exe=/usr/bin/curl</code>, <code>domain=.github.com</code> (and all below), <code>raddr=10.0.0.0/8</code>, <code>rport=8000-8099</code>, <code>cmdline~--insecure</code> (contains), <code>user!=root</code>. Values with commas are alternatives, filters all must hold. Click a chip for its opposite.</p>
      <h3>Charts</h3>
      <p>Drag over a chart to zoom into that time; the browser's Back returns. Every view is in the address: share it, or keep it.</p>
      <p class="note">snitch {document.documentElement.dataset["version"]} · country data: IPtoASN (public domain) unless you installed another · <a href={assetURL("licences.txt")}>licences</a></p>
    </Dialog>
  );
}
