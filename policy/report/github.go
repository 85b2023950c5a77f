package report

import (
	"fmt"
	"io"
	"strings"
)

// GitHub writes findings as workflow commands, which become annotations of the
// lines in a pull request.
func GitHub(w io.Writer, place Place, findings []Finding) error {
	var b strings.Builder
	for _, f := range findings {
		githubCommand(&b, place, f)
	}
	return write(w, b.String())
}

var githubNames = map[Level]string{Error: "error", Warning: "warning", Info: "notice"}

func githubCommand(b *strings.Builder, place Place, f Finding) {
	title := f.Check
	if f.Rule != "" {
		title += ": " + f.Rule
	}
	b.WriteString("::" + githubNames[f.Level])
	separator := " "
	property := func(name, value string) {
		fmt.Fprintf(b, "%s%s=%s", separator, name, githubProperty.Replace(value))
		separator = ","
	}
	if f.Pos.File != "" {
		property("file", place.Path(f.Pos.File))
	}
	if f.Pos.Line > 0 {
		property("line", fmt.Sprint(f.Pos.Line))
		property("col", fmt.Sprint(f.Pos.Col))
	}
	property("title", title)
	message := f.Message
	for _, r := range f.Related {
		message += fmt.Sprintf("\n%s: %s", place.At(r.Pos), r.Message)
	}
	fmt.Fprintf(b, "::%s\n", githubData.Replace(message))
}

// What the runner's own toolkit escapes: without it, a line feed in a message
// would end the command and begin another one of the message's choice.
var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
