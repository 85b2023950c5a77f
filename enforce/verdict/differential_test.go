package verdict

import (
	"flag"
	"slices"
	"testing"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var tuples = flag.Int("tuples", 100_000, "how many tuples TestKernelLooksUp draws")

const tuplesPerSet = 1000

func loaded(t testing.TB) *bpf.Verdicts {
	t.Helper()
	v, err := bpf.LoadVerdicts(bpf.VerdictConfig{Probe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(false); err != nil {
			t.Error(err)
		}
	})
	return v
}

// inKernel compiles and stages a set.
func inKernel(t testing.TB, v *bpf.Verdicts, set *rule.Set, now time.Time) *generation {
	t.Helper()
	g, err := newGeneration(v, &policy.Policy{Set: set}, now)
	if err != nil {
		t.Fatal(err)
	}
	if g.number, err = v.Stage(g.tables, 0); err != nil {
		t.Fatal(err)
	}
	return g
}

// query is a tuple as the kernel's hooks ask.
func query(g *generation, class table.ClassID, proto uint8, t table.Tuple) bpf.VerdictQuery {
	q := bpf.VerdictQuery{Class: uint32(class), Generation: g.number, Direction: uint8(t.Direction), Proto: proto,
		ToPort: t.To.Port, FromPort: t.From.Port}
	if t.To.Addr.IsValid() {
		q.To, q.Has = t.To.Addr.As16(), q.Has|bpf.QueryHasTo
	}
	if t.From.Addr.IsValid() {
		q.From, q.Has = t.From.Addr.As16(), q.Has|bpf.QueryHasFrom
	}
	if t.To.HasPort {
		q.Has |= bpf.QueryHasToPort
	}
	if t.From.HasPort {
		q.Has |= bpf.QueryHasFromPort
	}
	return q
}

// protoNumbers are the numbers of the protocols that the kernel side sees.
func protoNumbers() map[string]uint8 {
	out := map[string]uint8{}
	for n := range uint16(256) {
		out[event.ProtoName(event.AFInet, n)] = uint8(n)
	}
	return out
}

// TestKernelLooksUp holds the look-up in the kernel against that in Go on random
// policies and tuples.
func TestKernelLooksUp(t *testing.T) {
	n := *tuples
	if testing.Short() {
		n = min(n, 20_000)
	}
	v, numbers := loaded(t), protoNumbers()
	var verdicts [5]int
	for seed, done := uint64(0), 0; done < n; seed++ {
		gen := ruletest.New(seed)
		set := gen.Set()
		if seed%10 == 0 {
			set = gen.SetOf(40, 3)
		}
		now := time.Now()
		g := inKernel(t, v, set, now)
		for range tuplesPerSet {
			f := gen.Facts(set)
			number, ip := numbers[f.Proto]
			if !ip {
				continue
			}
			done++
			class, err := g.class(&f)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			tuple := table.TupleOf(&f)
			want := g.classes.Lookup(class, tuple, now)
			q := query(g, class, number, tuple)
			if _, err := v.Probe(&q, 1); err != nil {
				t.Fatal(err)
			}
			wantRule := want.Rule
			if table.Verdict(q.Verdict) != want.Verdict || g.ruleID(q.Rule) != wantRule {
				t.Fatalf("seed %d: the kernel says %d by %q, want %s by %q\n%+v", seed, q.Verdict, g.ruleID(q.Rule), want.Verdict, wantRule, tuple)
			}
			verdicts[want.Verdict]++
		}
		if err := g.tables.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ask %d, allow %d, alert %d, deny %d", verdicts[1], verdicts[2], verdicts[3], verdicts[4])
	if slices.Min(verdicts[1:]) < n/50 {
		t.Errorf("verdicts %v: the test says little", verdicts)
	}
}
