package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names of the specification.
const (
	service   = "org.freedesktop.Notifications"
	object    = "/org/freedesktop/Notifications"
	busName   = "org.freedesktop.DBus"
	appName   = "snitch"
	dismissed = 2 // reason of NotificationClosed: by the person
)

// Bounds of the helper.
const (
	callWithin = 5 * time.Second
	maxShown   = 256 // toasts whose number at the server is remembered
	maxWaiting = 32  // toasts kept until there is a server
)

// desktop is a person's notification server, as the helper sees it. One
// goroutine uses it.
type desktop struct {
	conn    *dbus.Conn
	out     io.Writer
	owner   string // unique name of the server, "" for none
	caps    []string
	asked   bool // caps are of owner
	ids     map[uint64]uint32
	keys    map[uint32]uint64
	order   []uint64 // of ids, oldest first
	waiting []toast
}

func newDesktop(conn *dbus.Conn, out io.Writer) *desktop {
	return &desktop{conn: conn, out: out, ids: map[uint64]uint32{}, keys: map[uint32]uint64{}}
}

// listen subscribes to the signals and learns whether there is a server.
func (d *desktop) listen(ctx context.Context) error {
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service)},
		{dbus.WithMatchInterface(service), dbus.WithMatchObjectPath(object), dbus.WithMatchMember("ActionInvoked")},
		{dbus.WithMatchInterface(service), dbus.WithMatchObjectPath(object), dbus.WithMatchMember("NotificationClosed")},
	} {
		if err := d.conn.AddMatchSignalContext(ctx, match...); err != nil {
			return fmt.Errorf("listen to the session bus: %w", err)
		}
	}
	// No owner is an error, and no obstacle: it may be started by the first call.
	_ = d.call(ctx, d.conn.BusObject(), busName+".GetNameOwner", []any{service}, &d.owner)
	return nil
}

func (d *desktop) call(ctx context.Context, o dbus.BusObject, method string, args []any, result ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	if err := o.CallWithContext(ctx, method, 0, args...).Store(result...); err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	return nil
}

// run shows toasts until ctx ends, and fails when the bus does.
func (d *desktop) run(ctx context.Context, toasts <-chan toast, signals <-chan *dbus.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-toasts:
			if err := d.show(ctx, t); err != nil {
				return err
			}
		case s, ok := <-signals:
			if !ok {
				return errors.New("the session bus ended")
			}
			if err := d.signal(ctx, s); err != nil {
				return err
			}
		}
	}
}

// show shows a toast, or keeps it until there is a server. Its error is that of
// writing to the core.
func (d *desktop) show(ctx context.Context, t toast) error {
	d.waiting = slices.DeleteFunc(d.waiting, func(w toast) bool { return w.Key == t.Key })
	if len(d.waiting) == maxWaiting {
		d.waiting = slices.Delete(d.waiting, 0, 1)
	}
	d.waiting = append(d.waiting, t)
	return d.flush(ctx)
}

// flush shows what waits. Toasts stay until a server took them.
func (d *desktop) flush(ctx context.Context) error {
	for len(d.waiting) > 0 {
		t := d.waiting[0]
		if err := d.notify(ctx, t); err != nil {
			return writeLine(d.out, said{Event: saidWaiting, Key: t.Key})
		}
		d.waiting = slices.Delete(d.waiting, 0, 1)
		if err := writeLine(d.out, said{Event: saidShown, Key: t.Key}); err != nil {
			return err
		}
	}
	return nil
}

// notify hands a toast to the server, in the form that the server understands.
func (d *desktop) notify(ctx context.Context, t toast) error {
	if err := d.meet(ctx); err != nil {
		return err
	}
	body := t.Body
	if slices.Contains(d.caps, "body-markup") {
		body = escapeMarkup(body)
	}
	actions := []string{}
	if t.Actions && slices.Contains(d.caps, "actions") {
		actions = []string{"default", "Open details", WantDetails.String(), "Open details", WantWhy.String(), "Why?"}
	}
	hints := map[string]dbus.Variant{"urgency": dbus.MakeVariant(t.Urgency), "category": dbus.MakeVariant("network")}
	var id uint32
	err := d.call(ctx, d.conn.Object(d.owner, object), service+".Notify", []any{appName, d.ids[t.Key], t.Icon, t.Title, body, actions, hints, int32(-1)}, &id)
	if err != nil {
		return err
	}
	d.remember(t.Key, id)
	return nil
}

// meet asks the server what it understands, and starts one when none runs and
// the bus knows how. From there on it is addressed by its unique name: numbers
// of notifications mean nothing to the next one.
func (d *desktop) meet(ctx context.Context) error {
	if d.asked {
		return nil
	}
	if d.owner == "" {
		var started uint32
		if err := d.call(ctx, d.conn.BusObject(), busName+".StartServiceByName", []any{service, uint32(0)}, &started); err != nil {
			return err
		}
		if err := d.call(ctx, d.conn.BusObject(), busName+".GetNameOwner", []any{service}, &d.owner); err != nil {
			return err
		}
	}
	if err := d.call(ctx, d.conn.Object(d.owner, object), service+".GetCapabilities", nil, &d.caps); err != nil {
		return err
	}
	d.asked = true
	return nil
}

func (d *desktop) remember(key uint64, id uint32) {
	if old, ok := d.ids[key]; ok {
		d.forget(key, old)
	}
	if stale, ok := d.keys[id]; ok { // the server gave a number again
		d.forget(stale, id)
	}
	if len(d.order) == maxShown {
		d.forget(d.order[0], d.ids[d.order[0]])
	}
	d.ids[key], d.keys[id] = id, key
	d.order = append(d.order, key)
}

func (d *desktop) forget(key uint64, id uint32) {
	delete(d.ids, key)
	delete(d.keys, id)
	d.order = slices.DeleteFunc(d.order, func(k uint64) bool { return k == key })
}

// signal takes one signal of the bus or of the server; anybody on the bus can
// send one that looks the same.
func (d *desktop) signal(ctx context.Context, s *dbus.Signal) error {
	switch {
	case s.Name == busName+".NameOwnerChanged" && s.Sender == busName:
		var name, before, owner string
		if err := dbus.Store(s.Body, &name, &before, &owner); err != nil || name != service {
			return nil
		}
		return d.changed(ctx, owner)
	case s.Sender != d.owner || d.owner == "":
		return nil
	case s.Name == service+".ActionInvoked":
		var id uint32
		var action string
		if err := dbus.Store(s.Body, &id, &action); err != nil {
			return nil
		}
		key, ok := d.keys[id]
		if !ok || parseWant(action) == WantInvalid {
			return nil
		}
		return writeLine(d.out, said{Event: saidAction, Key: key, Action: parseWant(action).String()})
	case s.Name == service+".NotificationClosed":
		var id, reason uint32
		if err := dbus.Store(s.Body, &id, &reason); err != nil {
			return nil
		}
		key, ok := d.keys[id]
		if !ok {
			return nil
		}
		d.forget(key, id)
		if reason == dismissed {
			return writeLine(d.out, said{Event: saidDismissed, Key: key})
		}
	}
	return nil
}

// changed forgets what was the old server's, and gives a new one what waited.
func (d *desktop) changed(ctx context.Context, owner string) error {
	if owner == d.owner {
		return nil
	}
	d.owner, d.asked, d.caps = owner, false, nil
	clear(d.ids)
	clear(d.keys)
	d.order = nil
	if owner == "" {
		return nil
	}
	return d.flush(ctx)
}
