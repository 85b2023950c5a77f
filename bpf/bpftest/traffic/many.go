package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// runMany makes many small connections from several threads. Its report has
// one line for all of them: the suite compares the number of rows and sums.
func runMany(args []string) error {
	s := stream{}
	f := flags("many")
	s.flags(f)
	count := f.Int("count", 5000, "connections")
	workers := f.Int("workers", 4, "threads")
	return reported("many", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		flow, err := s.many(*count, *workers)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

func (s *stream) many(count, workers int) (report.Flow, error) {
	work := make(chan struct{}, workers)
	go func() {
		defer close(work)
		for range count {
			work <- struct{}{}
		}
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var sum report.Flow
	var errs []error
	for range workers {
		wg.Go(func() {
			for range work {
				flow, err := s.run()
				mu.Lock()
				sent, received, rows := sum.Sent+flow.Sent, sum.Received+flow.Received, sum.Rows+1
				sum = flow
				sum.Sent, sum.Received, sum.Rows = sent, received, rows
				if err != nil && len(errs) < 4 {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sum.LPort = 0 // each connection has its own
	return sum, errors.Join(errs...)
}

// runSelfStream has both ends in one process: a loopback connection whose two
// sockets belong to the same owner, used by one thread.
func runSelfStream(args []string) error {
	f := flags("self-stream")
	var at netip.AddrPort
	f.TextVar(&at, "at", netip.MustParseAddrPort("127.0.0.1:7100"), "address to listen on")
	n := f.Int("n", 12345, "bytes each way")
	return reported("self-stream", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		sv := service{proto: "tcp", addr: at, options: map[string]string{}}
		listener, err := listenStream(&sv)
		if err != nil {
			return err
		}
		defer listener.Close()
		return selfStream(r, listener.(*streamService), *n)
	})
}

func selfStream(r *report.Report, l *streamService, n int) error {
	s := stream{proto: "tcp", to: l.addr}
	client, err := s.open()
	if err != nil {
		return err
	}
	defer unix.Close(client)
	if _, err := s.connect(client); err != nil {
		return err
	}
	server, sa, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer unix.Close(server)
	out, in := s.flow(client), accepted("tcp", server, addrPort(sa))
	at := local(client)
	out.LAddr, out.LPort = at.Addr().String(), at.Port()
	for _, dir := range []struct {
		from, to *report.Flow
		a, b     int
		seed     byte
	}{{&out, &in, client, server, fromClient}, {&in, &out, server, client, fromServer}} {
		if err := passBytes(dir.a, dir.b, n, dir.seed); err != nil {
			return err
		}
		dir.from.Sent, dir.to.Received = uint64(n), uint64(n)
	}
	listen := report.Flow{Proto: "tcp", Family: out.Family, Direction: "listen", LAddr: l.addr.Addr().String(),
		LPort: l.addr.Port(), NetNS: out.NetNS, Result: "listening|closed"}
	r.Flows = append(r.Flows, listen, out, in)
	return nil
}

// passBytes moves n bytes from one socket of this thread to the other, little
// enough at a time for the buffers between them.
func passBytes(from, to, n int, seed byte) error {
	p := make([]byte, 4096)
	for done := 0; done < n; {
		k := min(len(p), n-done)
		fill(p[:k], seed, uint64(done))
		if err := sendAll(plain(unix.Write), from, p[:k]); err != nil {
			return err
		}
		for got := 0; got < k; {
			m, err := unix.Read(to, p[:k-got])
			if err != nil || m == 0 {
				return errors.Join(err, fmt.Errorf("read %d of %d bytes", got, k))
			}
			if err := check(p[:m], seed, uint64(done+got)); err != nil {
				return err
			}
			got += m
		}
		done += k
	}
	return nil
}
