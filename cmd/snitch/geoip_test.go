package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"snitch/monitor/geoip"
)

// servePlaces is the command "serveplaces" of the stories: a server that has
// tables of places, whose address becomes $PLACES.
func servePlaces(ts *testscript.TestScript, _ bool, _ []string) {
	table, err := os.ReadFile(filepath.Join("..", "..", "monitor", "geoip", "country.mmdb"))
	ts.Check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/country.mmdb.gz", func(w http.ResponseWriter, _ *http.Request) {
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, _ = z.Write(table)
		_ = z.Close()
	})
	mux.HandleFunc("/half.mmdb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5187719")
		_, _ = w.Write(table[:len(table)/2])
	})
	mux.HandleFunc("/page.mmdb", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>sorry</html>")) })
	mux.HandleFunc("/broken.mmdb", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	server := httptest.NewServer(mux)
	ts.Defer(server.Close)
	ts.Setenv("PLACES", server.URL)
}

// TestFetchHasNoPrivileges: the process that reads what the network sends is
// an ordinary user's, in no group, and sees no environment.
func TestFetchHasNoPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing feature: root, without which there are no privileges to give up")
	}
	asked, looked := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-looked
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	defer func(name string) { os.Args[0] = name }(os.Args[0])
	os.Args[0] = "snitch" // as which this binary is snitch
	t.Setenv("SNITCH_SECRET", "x")
	child, err := startFetch(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	u := helperUser()
	for _, want := range []string{fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", u.UID), fmt.Sprintf("\nGid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", u.GID), "\nGroups:\t \n", "\nCapEff:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", child.cmd.Process.Pid)); err != nil || strings.Contains(string(environ), "SECRET") {
		t.Errorf("environment %q (%v)", environ, err)
	}
	close(looked)
	if _, err := child.Read(make([]byte, 1)); !errors.Is(err, geoip.ErrNotPublished) {
		t.Errorf("end: %v", err)
	}
}
