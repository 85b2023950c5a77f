package webtest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// ErrNoBrowser says that Chromium is not installed.
var ErrNoBrowser = errors.New("chromium is not installed (tools/setup.sh test)")

// patience bounds one step; a busy machine takes its time.
const patience = 60 * time.Second

// Browser is one tab. One goroutine drives it.
type Browser struct {
	ctx    context.Context
	cancel func()
	joined sync.WaitGroup

	mu         sync.Mutex
	complaints []string
}

// Start starts Chromium with an empty profile.
func Start(ctx context.Context) (*Browser, error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, ErrNoBrowser
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true))
	ctx, end := chromedp.NewExecAllocator(ctx, opts...)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &Browser{ctx: ctx, cancel: func() { cancel(); end() }}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		b.cancel()
		return nil, fmt.Errorf("start chromium: %w", err)
	}
	b.joined.Go(b.listen)
	return b, nil
}

// listen collects what is wrong, until the tab ends.
func (b *Browser) listen() {
	for m, err := range chromedp.Console(b.ctx) {
		if err != nil {
			return
		}
		switch m.Type {
		case "error", "warning", "assert", chromedp.ConsoleException:
			b.mu.Lock()
			b.complaints = append(b.complaints, fmt.Sprintf("%s: %s", m.Type, m.Text))
			b.mu.Unlock()
		}
	}
}

// Close ends the browser.
func (b *Browser) Close() {
	b.cancel()
	b.joined.Wait()
}

// Complaints returns and forgets what the browser complained about.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.complaints
	b.complaints = nil
	return out
}

// Do runs actions.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// Eval evaluates an expression, which may be a promise, in the page.
func Eval[T any](b *Browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Wait waits until an expression is true.
func (b *Browser) Wait(expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", expression, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Settled waits until the page awaits no answer any more, and has drawn.
func (b *Browser) Settled() error {
	if err := b.Wait(`document.querySelector("main, .signin") && !document.querySelector("[aria-busy=true]")`); err != nil {
		return err
	}
	_, err := Eval[bool](b, `document.fonts.ready.then(() => new Promise((ok) => requestAnimationFrame(() => requestAnimationFrame(() => ok(true)))))`)
	return err
}

// Open goes to an address and waits until it is shown.
func (b *Browser) Open(address string) error {
	if err := b.Do(chromedp.Navigate(address)); err != nil {
		return fmt.Errorf("open %s: %w", address, err)
	}
	return b.Settled()
}

// Screen sets what the page is shown on.
func (b *Browser) Screen(width, height int64, dark bool) error {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600}); err != nil {
		return fmt.Errorf("set size of screen: %w", err)
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		return fmt.Errorf("set colours of screen: %w", err)
	}
	return nil
}

// maxPicture bounds the height of a picture in pixels.
const maxPicture = 4000

// Picture is a PNG of the whole page, or of the screen.
func (b *Browser) Picture(whole bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	params := page.CaptureScreenshotParams{}
	if whole {
		size, err := Eval[[2]float64](b, "[innerWidth, document.documentElement.scrollHeight]")
		if err != nil {
			return nil, err
		}
		beyond := true
		params.Clip = &page.Viewport{Width: size[0], Height: min(size[1], maxPicture), Scale: 1}
		params.CaptureBeyondViewport = &beyond
	}
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, params)
	if err != nil {
		return nil, fmt.Errorf("take picture: %w", err)
	}
	return shot.Data, nil
}

// TooWide names elements that reach beyond the screen, "" for none.
func (b *Browser) TooWide() (string, error) {
	return Eval[string](b, `document.documentElement.scrollWidth <= innerWidth ? "" : [...document.querySelectorAll("main *, .bar *")]
		.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .segments, pre, .clip, .path")).slice(0, 5)
		.map((e) => e.tagName + "." + e.getAttribute("class")).join(" ") || "something"`)
}

// Crowded names cells of tables whose content lies over their neighbours, ""
// for none.
func (b *Browser) Crowded() (string, error) {
	return Eval[string](b, `[...document.querySelectorAll("main td, main th")]
		.filter((e) => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX == "visible").slice(0, 5)
		.map((e) => e.closest("table").className + ": " + e.innerText).join("; ")`)
}

// Click clicks the first element that a selector finds.
func (b *Browser) Click(selector string) error {
	if err := b.Do(chromedp.Click(selector)); err != nil {
		return fmt.Errorf("click %s: %w", selector, err)
	}
	return nil
}

// Press presses keys one after the other, as a person at the keyboard: a key
// that the page takes for itself writes nothing.
func (b *Browser) Press(keys ...string) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for _, k := range keys {
		for _, r := range k {
			if err := press(ctx, r); err != nil {
				return fmt.Errorf("press %q: %w", r, err)
			}
		}
	}
	return nil
}

// press sends what a keyboard does. An event for the character alone, as
// chromedp.KeyEvent sends, writes even if the page prevented the key.
func press(ctx context.Context, r rune) error {
	var down input.DispatchKeyEventParams
	for _, e := range kb.Encode(r) {
		switch e.Type {
		case kb.KeyDown:
			down = *e
			down.Type = input.DispatchKeyEventTypeRawKeyDown
		case kb.KeyChar:
			down.Type, down.Text, down.UnmodifiedText = kb.KeyDown, e.Text, e.UnmodifiedText
		}
	}
	up := down
	up.Type, up.Text, up.UnmodifiedText = kb.KeyUp, "", ""
	for _, e := range []input.DispatchKeyEventParams{down, up} {
		if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, e); err != nil {
			return err
		}
	}
	return nil
}

// Text is what a person reads of the first element.
func (b *Browser) Text(selector string) (string, error) {
	return Eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// Has reports whether the page shows text.
func (b *Browser) Has(text string) error {
	quoted := strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`)
	return b.Wait(`document.body.innerText.includes("` + quoted + `")`)
}
