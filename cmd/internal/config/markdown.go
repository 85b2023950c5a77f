package config

import (
	"fmt"
	"strings"
)

const intro = `# Configuration

<!-- Written by "go test ./cmd/internal/config -run TestDocs -update" from the list of settings in the code. -->

` + "`/etc/snitch/config.yaml`" + `, if it is there, or the file of ` + "`--config`" + `. A run with ` + "`--state DIR`" + ` and without ` + "`--config`" + ` reads no file: it is
apart from the system's daemon. Flags beat the file. The file is strict: unknown settings, repeated keys, wrong values and further
documents are refused, all faults at once, as ` + "`file:line:column: what`" + `.

` + "```sh" + `
sudo snitch config init /etc/snitch/config.yaml   # every setting with its default and what it is
snitch config check                               # would the daemon take it?
snitch config show --changed                      # what is not the default
` + "```" + `

The file must belong to root, and nobody else may be able to write it or a directory above it; a FIFO or device in its place is refused and never
waited for. ` + "`snitch config check -`" + ` reads standard input, where only the content counts (for CI).

` + "`SIGHUP`" + ` reads the file and the rules again. A file with faults changes nothing. Settings marked *at once* in the table count from then; other changes are
named in the log and count from the next start. Try a file first with ` + "`snitch run --config FILE --check`" + `, which also loads the rules and attaches to the kernel.

## The file

Without the file, and with every line that is not in it, these values hold:

`

const outro = `
Durations are ` + "`250ms`, `30s`, `1h30m`, `7d`, `2w`; sizes `512KiB`, `100MB`, `2GB`" + `. Lists are ` + "`[a, b]`" + ` or a line each with a dash.
`

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	d := Default()
	b.WriteString(intro + "```yaml\n" + d.YAML() + "```\n" + outro)
	b.WriteString("\n## All settings\n\n| setting | values | default | counts | is |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		value, counts := "`"+s.get(&d)+"`", "next start"
		if value == "``" {
			value = "none"
		}
		if s.live {
			counts = "at once"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.path, s.want, value, counts, s.help)
	}
	return b.String()
}
