package dns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// helperTimeout is below reverseTimeout, so that a late answer is still an answer.
const helperTimeout = 5 * time.Second

// ReverseHelper is the loop of the helper process: for each line with an
// address on in it writes "ADDRESS NAME" to out, with an empty name when there
// is none. It asks the resolvers of the host, and itself wants no privileges.
// It returns nil at the end of in, else what went wrong with in or out; ctx ends
// a question under way, closing in ends the loop.
func ReverseHelper(ctx context.Context, in io.Reader, out io.Writer) error {
	return reverseHelper(ctx, &net.Resolver{}, in, out)
}

func reverseHelper(ctx context.Context, resolver *net.Resolver, in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, maxReverseLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read address: %w", err)
		}
		addr, err := netip.ParseAddr(string(line[:len(line)-1]))
		if err != nil {
			return fmt.Errorf("read address: %w", err)
		}
		if _, err := fmt.Fprintf(out, "%s %s\n", addr, reverseName(ctx, resolver, addr)); err != nil {
			return fmt.Errorf("write name: %w", err)
		}
	}
}

// reverseName is "" also when the resolver fails: for a label that is the same.
func reverseName(ctx context.Context, resolver *net.Resolver, addr netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	names, err := resolver.LookupAddr(ctx, addr.String())
	if err != nil {
		return ""
	}
	for _, name := range names {
		if name, ok := normalise(name); ok {
			return name
		}
	}
	return ""
}
