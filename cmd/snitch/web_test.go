package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"snitch/cmd/internal/web/webtest"
)

// webProcess is a real `snitch web`.
type webProcess struct {
	*exec.Cmd
	address string // with a token
	lines   *bufio.Reader
	origin  string
}

func startWeb(t *testing.T, args ...string) *webProcess {
	t.Helper()
	w := &webProcess{Cmd: snitchCommand(append([]string{"web", "--port", "0"}, args...)...)}
	stderr := &safeBuffer{}
	w.Stderr = stderr
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Process.Signal(syscall.SIGTERM)
		if err := w.Wait(); err != nil {
			t.Errorf("snitch web: %v: %s", err, stderr)
		}
		if stderr.String() != "" {
			t.Errorf("snitch web said: %s", stderr)
		}
	})
	w.lines = bufio.NewReader(out)
	line, err := w.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("read address: %v: %s", err, stderr)
	}
	w.address = strings.TrimSpace(line)
	w.origin, _, _ = strings.Cut(w.address, "/?")
	return w
}

// browser is Chromium, which may complain about nothing.
func browser(t *testing.T) *webtest.Browser {
	t.Helper()
	b, err := webtest.Start(context.Background())
	if errors.Is(err, webtest.ErrNoBrowser) {
		t.Skip("missing feature: Chromium")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range b.Complaints() {
			t.Errorf("the browser complains: %s", c)
		}
		b.Close()
	})
	return b
}

func seedWeb(t *testing.T, o webtest.SeedOptions) string {
	t.Helper()
	dir := t.TempDir()
	if err := webtest.Seed(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// small is a seeded range that ends now.
func small() webtest.SeedOptions {
	return webtest.SeedOptions{Connections: 2500, Days: 3, Until: time.Now()}
}

var webPages = []string{"/", "/explore", "/explore?view=connections", "/explore?view=programs", "/live", "/alerts", "/policy?try=1", "/health"}

// TestWebPages shows every page on a screen and on a phone, dark and light,
// with and without a record, and has the accessibility checker look at each.
func TestWebPages(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	axe, err := webtest.Axe()
	if errors.Is(err, webtest.ErrNoNPM) {
		t.Skipf("missing feature: %v", err)
	}
	ok(t, err)
	b := browser(t)
	for name, dir := range map[string]string{"seeded": seedWeb(t, small()), "empty": t.TempDir()} {
		w := startWeb(t, "--state", dir)
		ok(t, b.Open(w.address))
		if name == "empty" {
			b.Complaints() // of the refusals
		}
		for _, screen := range []struct {
			name          string
			width, height int64
			dark          bool
		}{{"screen", 1440, 900, false}, {"tablet", 768, 1024, false}, {"phone", 375, 812, true}} {
			if name == "empty" && screen.width < 1000 {
				continue
			}
			ok(t, b.Screen(screen.width, screen.height, screen.dark))
			for _, path := range webPages {
				t.Run(name+" "+screen.name+" "+path, func(t *testing.T) {
					ok(t, b.Open(w.origin+path))
					wide, err := b.TooWide()
					ok(t, err)
					if wide != "" {
						t.Errorf("reaches beyond the screen: %s", wide)
					}
					crowded, err := b.Crowded()
					ok(t, err)
					if crowded != "" {
						t.Errorf("lies over its neighbour: %s", crowded)
					}
					found, err := b.Check(axe)
					ok(t, err)
					for _, f := range found {
						t.Error(f)
					}
					for _, c := range b.Complaints() {
						// Without a record the answers are refusals, which browsers log.
						if name == "seeded" || !strings.Contains(c, "503") {
							t.Errorf("the browser complains: %s", c)
						}
					}
				})
			}
		}
		// The drawer, a dialog and an open alert.
		if name == "seeded" {
			for _, step := range []struct{ path, click string }{{"/explore?last=7d", ".groups tbody .row-open"}, {"/?last=7d", ".range-now"}, {"/alerts", ".alert-open"}, {"/policy", ".rules .row-open"}, {"/explore?view=connections&last=7d", ".conns .row-open"}} {
				ok(t, b.Screen(1440, 900, true))
				ok(t, b.Open(w.origin+step.path))
				ok(t, b.Click(step.click))
				ok(t, b.Settled())
				found, err := b.Check(axe)
				ok(t, err)
				for _, f := range found {
					t.Errorf("%s, %s clicked: %s", step.path, step.click, f)
				}
			}
		}
	}
}

// TestWebSignIn is a browser that nobody signed in, and one that pastes the
// token.
func TestWebSignIn(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	w := startWeb(t, "--state", seedWeb(t, small()))
	b := browser(t)
	ok(t, b.Open(w.origin+"/explore"))
	ok(t, b.Has("asks who you are"))
	b.Complaints() // of the refusal
	_, token, _ := strings.Cut(w.address, "token=")
	ok(t, b.Do(chromedp.SendKeys("#token", token)))
	ok(t, b.Click("form button"))
	ok(t, b.Wait(`document.querySelector(".kpis")`))
	address, err := webtest.Eval[string](b, "location.href")
	ok(t, err)
	if strings.Contains(address, "token") {
		t.Errorf("the token stays in the address: %s", address)
	}
	next, err := w.lines.ReadString('\n')
	ok(t, err)
	if !strings.Contains(next, w.origin+"/?token=") || strings.Contains(next, token) {
		t.Errorf("then it printed %q", next)
	}
	ok(t, b.Click(`.rail [aria-label="Sign out"]`))
	ok(t, b.Has("asks who you are"))
	b.Complaints()
}

// TestWebExplore groups, filters, looks closer, goes back, and takes files.
func TestWebExplore(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	w := startWeb(t, "--state", seedWeb(t, small()))
	b := browser(t)
	ok(t, b.Screen(1440, 900, false))
	ok(t, b.Open(w.address))
	ok(t, b.Open(w.origin+"/explore?last=7d"))
	ok(t, b.Has("firefox"))
	// A filter that a person types, and its opposite.
	ok(t, b.Do(chromedp.SendKeys("#find", "pastebin.com\r")))
	ok(t, b.Wait(`location.search.includes("f=domain%3D.pastebin.com")`))
	ok(t, b.Wait(`document.querySelectorAll(".groups tbody tr").length == 1`))
	ok(t, b.Click(".chip-text"))
	ok(t, b.Wait(`location.search.includes("f=domain%21%3D.pastebin.com") && document.querySelectorAll(".groups tbody tr").length > 5`))
	// Another field, sorted otherwise.
	ok(t, b.Do(chromedp.SetValue(".group-by select", "country")))
	_, err := webtest.Eval[bool](b, `document.querySelector(".group-by select").dispatchEvent(new Event("change", {bubbles: true}))`)
	ok(t, err)
	ok(t, b.Has("Germany"))
	// Back leads to what was before.
	ok(t, b.Do(chromedp.NavigateBack()))
	ok(t, b.Has("firefox"))
	// From near: ancestry, digest, versions, connections.
	ok(t, b.Open(w.origin+"/explore?last=7d&open="+"exe%3D/usr/bin/curl"))
	for _, text := range []string{"modified:curl", "Started by", "systemd", "bash", "VirusTotal", "Recent connections", "github.com"} {
		ok(t, b.Wait(fmt.Sprintf(`document.querySelector(".drawer").innerText.includes(%q)`, text)))
	}
	ok(t, b.Click(".drawer .conns .row-open"))
	ok(t, b.Wait(`document.querySelector(".drawer .conn-detail").innerText.includes("Command line")`))
	ok(t, b.Press("\u001b"))
	ok(t, b.Wait(`!document.querySelector(".drawer")`))
	// Why, and a rule of it.
	ok(t, b.Open(w.origin+"/explore?view=connections&last=7d&f=domain%3Dpastebin.com"))
	ok(t, b.Click(".conns .row-open"))
	ok(t, b.Click(".conn-detail button"))
	ok(t, b.Wait(`document.querySelector("dialog pre").innerText.includes("no-paste-sites")`))
	ok(t, b.Press("\u001b"))
	// What the page offers as a file is a file.
	link, err := webtest.Eval[string](b, `document.querySelector("#export-menu a").href`)
	ok(t, err)
	text, err := webtest.Eval[string](b, fmt.Sprintf(`fetch(%q).then((r) => r.text())`, link))
	ok(t, err)
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 2 || rows[0][0] != "time" {
		t.Errorf("the export is %v, %.200q", err, text)
	}
}

// TestWebAlertsAndPolicy explains an alert, drafts a rule and tries it.
func TestWebAlertsAndPolicy(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	w := startWeb(t, "--state", seedWeb(t, small()))
	b := browser(t)
	ok(t, b.Screen(1440, 900, false))
	ok(t, b.Open(w.address))
	ok(t, b.Open(w.origin+"/alerts?text=pastebin&state=all"))
	ok(t, b.Click(".alert-open"))
	ok(t, b.Click(".alert-more button"))
	ok(t, b.Wait(`document.querySelector("dialog pre").innerText.includes("deny by no-paste-sites (policy.yaml:")`))
	ok(t, b.Press("\u001b"))
	ok(t, b.Wait(`!document.querySelector("dialog")`))
	ok(t, b.Click(".alert-more button:nth-of-type(2)"))
	ok(t, b.Wait(`document.querySelector("dialog pre").innerText.includes("action: allow")`))
	ok(t, b.Click("dialog .segments button:nth-of-type(3)"))
	ok(t, b.Wait(`document.querySelector("dialog pre").innerText.includes("action: deny")`))
	ok(t, b.Click("dialog button.primary"))
	ok(t, b.Wait(`location.pathname == "/policy" && document.querySelector("#candidate").value.includes("action: deny")`))
	ok(t, b.Has("old-proxy"))
	ok(t, b.Wait(`[...document.querySelectorAll("tr.dead")].some((r) => r.innerText.includes("old-proxy"))`))
	// A rule that changes what happened, and one that does not load.
	try := func(rule string) {
		ok(t, b.Do(chromedp.SetValue("#candidate", "version: 1\n\nrules:\n  - "+rule+"\n")))
		_, err := webtest.Eval[bool](b, `document.querySelector("#candidate").dispatchEvent(new Event("input", {bubbles: true}))`)
		ok(t, err)
		ok(t, b.Click(".try button.primary"))
	}
	try("{id: no-docker, action: deny, process: {exe: /usr/bin/dockerd}}")
	ok(t, b.Wait(`document.querySelector(".trial")?.innerText.includes("Newly denied")`))
	ok(t, b.Wait(`document.querySelector(".trial").innerText.includes("dockerd")`))
	try("{id: bad, action: burn, process: any}")
	ok(t, b.Wait(`document.querySelector(".faults")?.innerText.includes("candidate.yaml:4")`))
}

// TestWebHostile shows what strangers wrote, in every view. Nothing of it may
// run, or be seen as something else.
func TestWebHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	w := startWeb(t, "--state", seedWeb(t, small()))
	b := browser(t)
	ok(t, b.Open(w.address))
	name := "/tmp/" + webtest.HostileName
	query := "last=7d&f=" + strings.NewReplacer("<", "%3C", ">", "%3E", "=", "%3D", " ", "%20", "/", "%2F").Replace("exe="+name)
	shown := 0
	for _, path := range []string{"/explore?by=exe&" + query, "/explore?by=cmdline&" + query, "/explore?by=domain&" + query, "/explore?by=name&by=domain&" + query, "/explore?view=connections&" + query,
		"/explore?view=programs&last=7d", "/explore?last=7d&open=" + strings.SplitN(query, "f=", 2)[1], "/alerts?state=all", "/live?" + query, "/?last=7d"} {
		ok(t, b.Open(w.origin+path))
		bad, err := webtest.Eval[string](b, `JSON.stringify([document.title.includes("owned"), document.querySelectorAll('img[src="x"], script:not([src])').length,
			/[\u202a-\u202e\u2066-\u2069\u001b]/.test(document.body.innerText)])`)
		ok(t, err)
		if bad != "[false,0,false]" {
			t.Errorf("%s: owned, foreign elements, unseen characters: %s", path, bad)
		}
		seen, err := webtest.Eval[bool](b, `document.body.innerText.includes("onerror=alert") || document.body.innerText.includes("\\u{202e}")`)
		ok(t, err)
		if seen {
			shown++
		}
	}
	if shown < 6 {
		t.Errorf("only %d views showed the hostile names at all", shown)
	}
}

// TestWebKeys goes through the interface without a mouse.
func TestWebKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	w := startWeb(t, "--state", seedWeb(t, small()))
	b := browser(t)
	ok(t, b.Open(w.address))
	for key, path := range map[string]string{"e": "/explore", "l": "/live", "a": "/alerts", "p": "/policy", "h": "/health", "o": "/"} {
		ok(t, b.Press("g", key))
		ok(t, b.Wait(fmt.Sprintf(`location.pathname == %q`, path)))
	}
	ok(t, b.Open(w.origin+"/?last=1h"))
	ok(t, b.Press("["))
	ok(t, b.Wait(`new URLSearchParams(location.search).has("since")`))
	ok(t, b.Press("["))
	ok(t, b.Press("]"))
	ok(t, b.Press("]"))
	ok(t, b.Wait(`new URLSearchParams(location.search).get("last") == "1h"`))
	ok(t, b.Press("?"))
	ok(t, b.Wait(`document.querySelector("dialog[open]")`))
	ok(t, b.Press("\u001b"))
	ok(t, b.Wait(`!document.querySelector("dialog")`))
	// Who types faster than pages are drawn loses no key.
	ok(t, b.Press("g", "p", "g", "l", "g", "h", "/"))
	ok(t, b.Wait(`location.pathname == "/explore" && document.activeElement.id == "find"`))
	ok(t, b.Press("g", "e"))
	ok(t, b.Wait(`document.activeElement.value == "ge"`))
	ok(t, b.Press("\u001b"))
	ok(t, b.Wait(`document.querySelector(".groups .row-open")`))
	ok(t, b.Press("j", "j", "k", "j"))
	ok(t, b.Wait(`[...document.querySelectorAll(".row-open")].indexOf(document.activeElement) == 1`))
	ok(t, b.Press("\r"))
	ok(t, b.Wait(`document.activeElement.matches(".drawer")`))
	ok(t, b.Press("\u001b"))
	ok(t, b.Wait(`[...document.querySelectorAll(".row-open")].indexOf(document.activeElement) == 1`))
	ok(t, b.Open(w.origin+"/alerts"))
	ok(t, b.Press("j"))
	ok(t, b.Wait(`document.querySelector(".alert-open") == document.activeElement`))
	ok(t, b.Press("j"))
	ok(t, b.Wait(`[...document.querySelectorAll(".alert-open")].indexOf(document.activeElement) == 1`))
	ok(t, b.Press("x"))
	ok(t, b.Wait(`document.querySelectorAll(".alert input:checked").length == 1`))
	// Of two letters the second one is not the focused alert's.
	fresh, err := webtest.Eval[string](b, `document.querySelector(".badge").innerText`)
	ok(t, err)
	ok(t, b.Press("g", "e"))
	ok(t, b.Wait(`location.pathname == "/explore"`))
	still, err := webtest.Eval[string](b, `fetch("/api/alerts?state=new&limit=1").then((r) => r.json()).then((a) => String(a.sums.new))`)
	ok(t, err)
	if still != fresh {
		t.Errorf("%s new alerts became %s", fresh, still)
	}
	// The skip link is the first thing that Tab reaches, and is seen then.
	ok(t, b.Open(w.origin+"/health"))
	ok(t, b.Press("\t"))
	ok(t, b.Wait(`document.activeElement.className == "skip" && document.activeElement.getBoundingClientRect().top >= 0`))
}
