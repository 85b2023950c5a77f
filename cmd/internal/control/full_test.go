package control

import (
	"context"
	"testing"
	"time"
)

// TestStopWhenFull: clients that keep their connections open, as many as there
// may be and more that wait, do not hold the end.
func TestStopWhenFull(t *testing.T) {
	f := serve(t, 0)
	for i := range maxConnections {
		if _, err := NewClient(f.dir).Status(t.Context()); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	waits := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := NewClient(f.dir).Status(ctx)
		waits <- err
	}()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	f.stop()
	err := <-f.done
	f.done <- err
	if took := time.Since(began); err != nil || took > 3*time.Second {
		t.Errorf("the end took %v: %v", took, err)
	}
	<-waits
}
