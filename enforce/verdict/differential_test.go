package verdict

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rego"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var tuples = flag.Int("tuples", 1_000_000, "how many tuples TestKernelLooksUp draws")

// tuplesPerSet is how many tuples are tried on each set: to stage one waits for
// the kernel as long as some hundreds take.
const tuplesPerSet = 2000

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

// TestKernelLooksUp holds the look-up in the kernel against OPA, and against that
// in Go, on random policies and tuples.
func TestKernelLooksUp(t *testing.T) {
	n := *tuples
	if testing.Short() {
		n = min(n, 20_000)
	}
	v, numbers := loaded(t), protoNumbers()
	var verdicts [5]int
	for seed, done := uint64(0), 0; done < n && !t.Failed(); seed++ {
		c := draw(seed, numbers)
		// OPA needs about as long as the kernel: both at once.
		var running sync.WaitGroup
		running.Go(func() { c.decide(t) })
		c.lookUp(t, v, numbers)
		running.Wait()
		for i := range c.facts {
			if err := c.disagree(i); err != nil {
				t.Errorf("seed %d: %v\n%+v", seed, err, c.facts[i])
				break
			}
			verdicts[c.kernel[i].Verdict]++
		}
		done += len(c.facts)
	}
	t.Logf("ask %d, allow %d, alert %d, deny %d", verdicts[1], verdicts[2], verdicts[3], verdicts[4])
	if slices.Min(verdicts[1:]) < n/50 {
		t.Errorf("verdicts %v: the test says little", verdicts)
	}
}

// TestAnySourcePort: a rule about every source port is one about packets that
// have a port, and no port is told apart from another.
func TestAnySourcePort(t *testing.T) {
	l, err := rule.Parse("a.yaml", []byte("version: 1\nrules:\n  - {id: ported, action: deny, reason: it has a port, from: {port: 0-65535}, mode: enforce}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, numbers, gen := &contest{set: l.Set, now: time.Now()}, protoNumbers(), ruletest.New(1)
	for range 200 {
		if f := gen.Facts(c.set); numbers[f.Proto] != 0 {
			c.facts = append(c.facts, f)
		}
	}
	c.decide(t)
	c.lookUp(t, loaded(t), numbers)
	denied := 0
	for i := range c.facts {
		if err := c.disagree(i); err != nil {
			t.Errorf("%v\n%+v", err, c.facts[i])
		}
		if c.kernel[i].Verdict == uint8(table.Deny) {
			denied++
		}
	}
	if denied == 0 {
		t.Errorf("none of %d denied", len(c.facts))
	}
}

// contest is one policy, what is asked of it, and what each party says.
type contest struct {
	set    *rule.Set
	now    time.Time
	facts  []rule.Facts
	opa    []rule.Decision
	golang []table.Entry
	kernel []bpf.VerdictQuery
	rules  []string // that the kernel names
}

func draw(seed uint64, numbers map[string]uint8) *contest {
	gen := ruletest.New(seed)
	c := &contest{set: gen.Set(), now: time.Now()}
	if seed%10 == 0 {
		c.set = gen.SetOf(40, 3)
	}
	for range tuplesPerSet {
		f := gen.Facts(c.set)
		if _, ip := numbers[f.Proto]; ip {
			c.facts = append(c.facts, f)
		}
	}
	return c
}

func (c *contest) decide(t *testing.T) {
	e, err := rego.New(t.Context(), c.set)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range c.facts {
		votes, err := e.Votes(t.Context(), &c.facts[i])
		if err != nil {
			t.Error(err)
			return
		}
		c.opa = append(c.opa, c.set.Combine(votes, c.now))
	}
}

func (c *contest) lookUp(t *testing.T, v *bpf.Verdicts, numbers map[string]uint8) {
	t.Helper()
	g := inKernel(t, v, c.set, c.now)
	defer g.tables.Close()
	for i := range c.facts {
		f := &c.facts[i]
		class, err := g.class(f)
		if err != nil {
			t.Error(err)
			return
		}
		tuple := table.TupleOf(f)
		q := query(g, class, numbers[f.Proto], tuple)
		again := uint32(1 + i&1) // the answer is one that the kernel remembers
		if _, err := v.Probe(&q, again); err != nil {
			t.Error(err)
			return
		}
		c.kernel, c.rules = append(c.kernel, q), append(c.rules, g.ruleID(q.Rule))
		c.golang = append(c.golang, g.classes.Lookup(class, tuple, c.now))
	}
}

func (c *contest) disagree(i int) error {
	if i >= len(c.opa) || i >= len(c.kernel) {
		return errors.New("a party had no answer")
	}
	got, want, native := table.Verdict(c.kernel[i].Verdict), &c.opa[i], &c.golang[i]
	if got != table.Ask && got.Action() != want.Action {
		return fmt.Errorf("the kernel says %s by %q, OPA %s by %q", got, c.rules[i], want.Action, want.Rule)
	}
	if got != native.Verdict || c.rules[i] != native.Rule {
		return fmt.Errorf("the kernel says %s by %q, Go %s by %q", got, c.rules[i], native.Verdict, native.Rule)
	}
	return nil
}
