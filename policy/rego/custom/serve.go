package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/policy/rule"
)

// WorkerMemory is what Work leaves the worker, in bytes: of anonymous memory,
// which is the heap, stacks and the runtime's own.
const WorkerMemory = 256 << 20

// Work is a worker's main: it bounds the process and serves. A module that
// takes more memory ends the process, which the core notices by its socket.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := limitMemory(WorkerMemory); err != nil {
		return err
	}
	return Serve(ctx, in, out)
}

// limitMemory makes the collector work harder from three quarters on, and the
// kernel refuse what is beyond the limit.
func limitMemory(most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		return fmt.Errorf("read memory limit: %w", err)
	}
	most = min(most, now.Max)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("set memory limit: %w", err)
	}
	debug.SetMemoryLimit(int64(most / 4 * 3))
	return nil
}

// Serve answers requests until in ends. It evaluates in the calling goroutine:
// while a module runs nothing is read.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var program *Program
	for {
		var req request
		err := readFrame(in, &req, maxRequest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		res := response{V: Version, Seq: req.Seq}
		switch {
		case req.V != Version:
			return fmt.Errorf("request: %w", errVersion)
		case req.Op == opLoad && program == nil:
			if program, err = req.load(ctx); err != nil {
				res.Error = bounded(err.Error())
			}
		case req.Op == opEval && program != nil && len(req.Inputs) <= maxBatch:
			res.Answers = program.answer(ctx, &req)
		default:
			return fmt.Errorf("request %q with %d inputs is out of turn", req.Op, len(req.Inputs))
		}
		if err := writeFrame(out, &res, maxResponse); err != nil {
			return err
		}
	}
}

func (req *request) load(ctx context.Context) (*Program, error) {
	modules := make([]rule.Module, len(req.Modules))
	for i, m := range req.Modules {
		modules[i] = rule.Module{File: m.File, Source: m.Source}
	}
	lists := make(map[string]*rule.List, len(req.Lists))
	for _, l := range req.Lists {
		lists[l.Name] = rule.NewList(l.Name, l.Hosts)
	}
	return Compile(ctx, modules, lists, Options{})
}

// batchDeadlines is how many deadlines a whole batch may take.
const batchDeadlines = 10

// answer evaluates a batch. After the first input for which the package was too
// slow the others get none: it would hold up everybody behind them.
func (p *Program) answer(ctx context.Context, req *request) []wireAnswer {
	ctx, cancel := context.WithTimeout(ctx, batchDeadlines*time.Duration(req.Deadline))
	defer cancel()
	out := make([]wireAnswer, len(req.Inputs))
	late := false
	for i, input := range req.Inputs {
		if late {
			out[i] = wireAnswer{Error: "not asked: it was too slow for another connection", Late: true}
			continue
		}
		out[i] = p.answerOne(ctx, req.Package, input, time.Duration(req.Deadline))
		late = out[i].Late
	}
	return out
}

func (p *Program) answerOne(ctx context.Context, name string, input []byte, deadline time.Duration) wireAnswer {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	votes, err := p.evalJSON(ctx, name, input)
	if err != nil {
		return wireAnswer{Error: bounded(err.Error()), Late: errors.Is(err, context.DeadlineExceeded)}
	}
	out := wireAnswer{Votes: make([]wireVote, len(votes))}
	for i, v := range votes {
		out.Votes[i] = wireVote{Set: v.Action.String(), ID: strings.TrimPrefix(v.ID, "custom."+name+"."), Reason: v.Reason}
	}
	return out
}

// bounded keeps an error's text short and valid.
func bounded(s string) string {
	const most = 1024
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}
