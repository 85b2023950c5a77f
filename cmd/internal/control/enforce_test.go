package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// enforce does what it is told, but for panic and confirm.
func (f *fixture) enforce(ctx context.Context, o EnforceOrder) (Enforce, error) {
	f.mu.Lock()
	f.orders = append(f.orders, o)
	f.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return Enforce{}, ctx.Err()
	case o.Do == EnforcePanic:
		return Enforce{}, ErrNoEnforcement
	case o.Do == EnforceConfirm:
		return Enforce{}, errors.New("nothing waits to be confirmed")
	}
	return Enforce{Mode: "mode " + o.Do}, nil
}

// carriedOut are the orders that came so far.
func (f *fixture) carriedOut() []EnforceOrder {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.orders)
}

func TestEnforceOrders(t *testing.T) {
	f := serve(t, 0)
	c := NewClient(f.dir)
	e, err := c.Enforce(t.Context(), EnforceOrder{Do: EnforceOn, Confirm: 90 * time.Second, Force: true, PID: 1, UID: 7})
	if err != nil || e.Mode != "mode on" {
		t.Fatalf("%+v, %v", e, err)
	}
	want := EnforceOrder{Do: EnforceOn, Confirm: 90 * time.Second, Force: true, PID: os.Getpid()}
	if got := f.carriedOut(); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := c.Enforce(t.Context(), EnforceOrder{Do: EnforceConfirm}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "nothing waits") {
		t.Errorf("confirm: %v", err)
	}
	if _, err := c.Enforce(t.Context(), EnforceOrder{Do: EnforcePanic}); !errors.Is(err, ErrNoEnforcement) {
		t.Errorf("panic: %v", err)
	}
}

// TestOnlyRootEnforces: members of the group may look and acknowledge, but
// whether they are denied is not theirs to say.
func TestOnlyRootEnforces(t *testing.T) {
	f := serve(t, 0)
	member := &syscall.Credential{Uid: 65534, Gid: testGroup}
	if got := startAs(t, "enforce", f.dir, member); got != ErrNotRoot.Error() {
		t.Errorf("member got %q", got)
	}
	if got := f.carriedOut(); len(got) > 0 {
		t.Errorf("the order was carried out: %+v", got)
	}
	if got := startAs(t, "enforce", f.dir, &syscall.Credential{}); got != "mode off<nil>" {
		t.Errorf("root got %q", got)
	}
}

func TestBadEnforceOrders(t *testing.T) {
	f := serve(t, 0)
	c := NewClient(f.dir)
	for _, query := range []string{"", "do=enable", "do=on&confirm=60", "do=on&confirm=-1s", "do=on&confirm=0s", "do=on&force=perhaps", "do=" + url.QueryEscape("on\x00")} {
		_, err := c.ask(t.Context(), http.MethodPost, "/v1/enforce?"+query)
		if err == nil {
			t.Errorf("%q was taken", query)
		}
	}
	if got := f.carriedOut(); len(got) > 0 {
		t.Errorf("carried out: %+v", got)
	}
}
