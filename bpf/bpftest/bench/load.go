package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"snitch/bpf/bpftest"
)

// load makes new flows as fast as one thread can and asks the daemon whether
// it kept them.
func (b *bench) load(doc *document) error {
	rows := [][]string{{"load", "new flows", "a second", "rows", "lost"}}
	err := b.serve(func() error {
		for _, l := range []struct{ title, what string }{
			{"a socket for each datagram", "sockets"},
			{"one socket, each datagram to another peer", "peers"},
		} {
			err := b.attached(func(d *bpftest.Daemon) error {
				before, err := ask(d)
				if err != nil {
					return err
				}
				s, err := b.once(l.what, vethAddress, "-for", "3s")
				if err != nil {
					return err
				}
				time.Sleep(3 * time.Second)
				after, err := ask(d)
				if err != nil {
					return err
				}
				rows = append(rows, []string{l.title, fmt.Sprint(s.Ops), fmt.Sprintf("%.0f", s.perSecond()),
					fmt.Sprint(after.Connections.Total - before.Connections.Total), after.lost()})
				return nil
			})
			var unclean *stopError
			if errors.As(err, &unclean) { // a loss at the end is a result too
				rows = append(rows, []string{l.title + ", at stop", "", "", "", strings.ReplaceAll(unclean.Error(), "\n", " ")})
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	doc.section("New flows without loss", "Three seconds at the full speed of one thread; rows and losses as `snitch status` counts them.")
	doc.table(rows)
	return nil
}

// status is what is read of `snitch status --json`.
type status struct {
	Connections struct {
		Total uint64 `json:"total"`
	} `json:"connections"`
	Losses map[string]struct {
		Count uint64 `json:"count"`
	} `json:"losses"`
	Policy struct {
		Error    string  `json:"error"`
		LoadTime float64 `json:"load_time"` // seconds
	} `json:"policy"`
	Enforce struct {
		Problem string `json:"problem"`
		Backend struct {
			Generation uint64 `json:"generation"`
		} `json:"backend"`
	} `json:"enforce"`
}

func ask(d *bpftest.Daemon) (*status, error) {
	b, err := d.Command("status", "--json")
	if err != nil {
		return nil, err
	}
	s := new(status)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode status: %w", err)
	}
	return s, nil
}

func (s *status) lost() string {
	text := ""
	for cause, l := range s.Losses {
		if l.Count > 0 {
			text += fmt.Sprintf("%s %d ", cause, l.Count)
		}
	}
	if text == "" {
		return "0"
	}
	return text
}
