package notifytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	service = "org.freedesktop.Notifications"
	object  = "/org/freedesktop/Notifications"
)

// notifications is the server's object.
type notifications struct {
	conn *dbus.Conn
	caps []string

	mu   sync.Mutex
	last uint32
}

// GetCapabilities is a method on the bus.
func (n *notifications) GetCapabilities() ([]string, *dbus.Error) { return n.caps, nil }

// Notify is a method on the bus.
func (n *notifications) Notify(sender dbus.Sender, _ string, replaces uint32, icon, title, body string, actions []string, hints map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	var from uint32
	if err := n.conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixUser", 0, string(sender)).Store(&from); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	id := replaces
	if id == 0 {
		n.last++
		id = n.last
	}
	urgency, _ := hints["urgency"].Value().(byte)
	line, err := json.Marshal(Toast{from, id, replaces, icon, title, body, actions, urgency})
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fmt.Println(string(line))
	return id, nil
}

// serve is the notification server: serve CAPABILITY…. Its first number is its
// process number: servers do not continue one another's.
func serve(caps []string) error {
	bus := filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus")
	conn, err := dbus.Connect("unix:path="+bus, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return err
	}
	if err := conn.Export(&notifications{conn: conn, caps: caps, last: uint32(os.Getpid())}, object, service); err != nil {
		return err
	}
	if reply, err := conn.RequestName(service, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("request name: %v, %w", reply, err)
	}
	fmt.Println(`{"Title":"serving"}`)
	for dec := json.NewDecoder(os.Stdin); ; {
		var o Order
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		signal, value := "NotificationClosed", any(o.Close)
		if o.Invoke != "" {
			signal, value = "ActionInvoked", o.Invoke
		}
		if err := conn.Emit(object, service+"."+signal, o.ID, value); err != nil {
			return err
		}
	}
}
