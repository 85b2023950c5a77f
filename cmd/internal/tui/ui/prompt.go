package ui

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// maxPrompt bounds what can be typed or pasted.
const maxPrompt = 512

// Prompt is a line to type in. The zero value is closed.
type Prompt struct {
	Label string // before the text
	Note  string // after it: what is wrong with it, or how to write it
	Wrong bool   // Note is an error
	open  bool
	text  []rune
	at    int
}

// Open begins to ask, with text to change.
func (p *Prompt) Open(label, text string) {
	*p = Prompt{Label: label, open: true}
	p.insert(text)
}

// Close ends it.
func (p *Prompt) Close() { p.open = false }

// IsOpen reports whether keys go here.
func (p *Prompt) IsOpen() bool { return p.open }

// Text is what was typed.
func (p *Prompt) Text() string { return string(p.text) }

// Answer is what a key did to a prompt.
type Answer uint8

// Answers.
const (
	Editing  Answer = iota // the text may have changed
	Accepted               // enter
	Canceled               // escape
)

// Key takes a key. The caller closes the prompt, or says what is wrong.
func (p *Prompt) Key(k tea.KeyPressMsg) Answer {
	switch s := k.String(); s {
	case "enter":
		return Accepted
	case "esc", "ctrl+c", "ctrl+g":
		return Canceled
	case "backspace", "ctrl+h":
		if p.at > 0 {
			p.text = append(p.text[:p.at-1], p.text[p.at:]...)
			p.at--
		} else if len(p.text) == 0 {
			return Canceled
		}
	case "delete", "ctrl+d":
		if p.at < len(p.text) {
			p.text = append(p.text[:p.at], p.text[p.at+1:]...)
		}
	case "left", "ctrl+b":
		p.at = max(0, p.at-1)
	case "right", "ctrl+f":
		p.at = min(len(p.text), p.at+1)
	case "home", "ctrl+a":
		p.at = 0
	case "end", "ctrl+e":
		p.at = len(p.text)
	case "ctrl+u":
		p.text, p.at = append([]rune(nil), p.text[p.at:]...), 0
	case "ctrl+k":
		p.text = p.text[:p.at]
	case "ctrl+w":
		head := strings.TrimRight(string(p.text[:p.at]), " ")
		head = head[:strings.LastIndexByte(head, ' ')+1]
		p.text = append([]rune(head), p.text[p.at:]...)
		p.at = utf8.RuneCountInString(head)
	default:
		p.insert(k.Text)
	}
	p.Note, p.Wrong = "", false
	return Editing
}

// Paste takes pasted text; its lines become one.
func (p *Prompt) Paste(s string) { p.insert(strings.Join(strings.Fields(s), " ")) }

func (p *Prompt) insert(s string) {
	for _, r := range s {
		if len(p.text) >= maxPrompt || r == utf8.RuneError || r < ' ' {
			continue
		}
		p.text = append(p.text[:p.at], append([]rune{r}, p.text[p.at:]...)...)
		p.at++
	}
}

// Line draws it with the place to type at.
func (p *Prompt) Line(t *Theme, width int) string {
	head, tail := Clean(string(p.text[:p.at])), Clean(string(p.text[p.at:]))
	if room := max(4, width-Width(p.Label)-Width(p.Note)-6); Width(head) > room {
		head = Fit(head, room, false, true)
	}
	tone := Dim
	if p.Wrong {
		tone = Bad
	}
	return t.Line(width, Span{Text: p.Label, Tone: Accent}, Span{Text: " "}, Span{Text: head, Tone: Strong}, Span{Text: "▏", Tone: Accent},
		Span{Text: tail, Tone: Strong}, Span{Text: "  "}, Span{Text: p.Note, Tone: tone})
}
