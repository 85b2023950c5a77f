package export

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Speak starts, or goes on with, a conversation with a SyslogHelper: it calls use
// with the connection, and with fresh set when the helper is a new one. An error
// of use ends that helper.
type Speak func(ctx context.Context, use func(conn io.ReadWriteCloser, fresh bool) error) error

// syslogOutput is an Output that gives messages to a SyslogHelper.
type syslogOutput struct {
	settings Settings
	origin   Origin
	speak    Speak
	answers  *bufio.Reader
}

// NewSyslog sends items over a helper.
func NewSyslog(settings Settings, origin Origin, speak Speak) Output {
	return &syslogOutput{settings: settings, origin: origin, speak: speak}
}

// Write sends items in order, until one does not leave.
func (s *syslogOutput) Write(ctx context.Context, items []Item) (taken int, err error) {
	for i := range items {
		message := s.origin.Format(&items[i], s.settings.Target.limit())
		if message == nil {
			continue
		}
		if err := s.send(ctx, message); err != nil {
			return i, fmt.Errorf("%w: %w", ErrLater, err)
		}
	}
	return len(items), nil
}

// refused is an answer of the helper: it lives, the server does not.
type refused string

func (r refused) Error() string { return string(r) }

func (s *syslogOutput) send(ctx context.Context, message []byte) error {
	var answer error
	err := s.speak(ctx, func(conn io.ReadWriteCloser, fresh bool) error {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks reading
		defer stop()
		if fresh || s.answers == nil {
			s.answers = bufio.NewReaderSize(conn, maxAnswer)
			b, err := json.Marshal(s.settings)
			if err != nil {
				return fmt.Errorf("encode settings: %w", err)
			}
			if err := writeFrame(conn, b); err != nil {
				return fmt.Errorf("write settings: %w", err)
			}
		}
		if err := writeFrame(conn, message); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
		line, err := s.answers.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if word := strings.TrimSuffix(string(line), "\n"); word != "ok" {
			answer = refused(word)
		}
		return nil
	})
	return errors.Join(err, answer)
}

func (s *syslogOutput) Close() error { return nil }
