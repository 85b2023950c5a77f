package webtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chromedp/chromedp"
)

// Axe returns the source of the accessibility checker, from a cache or from npm.
func Axe() (string, error) {
	text := ""
	err := axe.files(func(name string, data io.Reader) error {
		if name != "package/axe.min.js" {
			return nil
		}
		b, err := io.ReadAll(data)
		text = string(b)
		return err
	})
	if err == nil && text == "" {
		err = errors.New("the package of the checker has none")
	}
	return text, err
}

// Check runs the checker on the page and returns what is serious: rule, help,
// and where.
func (b *Browser) Check(axe string) ([]string, error) {
	// The protocol's evaluation is not bound by the page's policy.
	if err := b.Do(chromedp.Action[chromedp.Void](chromedp.Evaluate[chromedp.Void](axe + ";0"))); err != nil {
		return nil, fmt.Errorf("load checker: %w", err)
	}
	text, err := Eval[string](b, `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help, at: v.nodes.slice(0, 4).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? ""))}))))`)
	if err != nil {
		return nil, fmt.Errorf("run checker: %w", err)
	}
	var found []struct {
		ID, Impact, Help string
		At               []string
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf("read result of checker: %w", err)
	}
	var out []string
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			out = append(out, fmt.Sprintf("%s (%s): %s: %s", v.ID, v.Impact, v.Help, strings.Join(v.At, "; ")))
		}
	}
	return out, nil
}
