package custom

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

func frame(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeFrame(&b, v, maxRequest); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestFrames reads what was written and refuses what is not one message.
func TestFrames(t *testing.T) {
	want := request{V: 1, Seq: 7, Op: opEval, Package: "x", Inputs: []json.RawMessage{[]byte(`{"v":1}`)}, Deadline: 5}
	var got request
	if err := readFrame(bytes.NewReader(frame(t, &want)), &got, maxRequest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	raw := func(n int, text string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) + text }
	for text, want := range map[string]string{
		"":                      "EOF",
		"\x00\x00":              "unexpected EOF",
		raw(10, "{}"):           "2 of 10 bytes",
		raw(maxRequest+1, "{}"): "longer than its bound",
		raw(1<<32-1, ""):        "longer than its bound",
		raw(2, "[]"):            "cannot unmarshal",
		raw(4, "{}{}"):          "something follows it",
		raw(9, `{"odd":1}`):     "unknown field",
		raw(0, ""):              "EOF",
	} {
		err := readFrame(strings.NewReader(text), &request{}, maxRequest)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if err := writeFrame(io.Discard, strings.Repeat("x", 100), 50); !errors.Is(err, errFrame) {
		t.Errorf("writing too much: %v", err)
	}
}

// TestOutOfTurn ends a worker that is talked to in the wrong order or version.
func TestOutOfTurn(t *testing.T) {
	load := request{V: Version, Op: opLoad, Modules: []wireModule{{"good.rego", []byte(good)}}}
	for name, frames := range map[string][]request{
		"eval first":    {{V: Version, Op: opEval, Package: "good"}},
		"loaded twice":  {load, load},
		"version":       {{V: 2, Op: opLoad}},
		"no such op":    {{V: Version, Op: "exec"}},
		"too many":      {load, {V: Version, Op: opEval, Package: "good", Inputs: make([]json.RawMessage, maxBatch+1)}},
		"empty request": {{}},
	} {
		var in bytes.Buffer
		for _, f := range frames {
			for i := range f.Inputs {
				f.Inputs[i] = []byte("{}")
			}
			in.Write(frame(t, &f))
		}
		if err := Serve(t.Context(), &in, io.Discard); err == nil {
			t.Errorf("%s: the worker went on", name)
		}
	}
}

// TestSchema holds what Input makes of random facts against the schema, and
// the schema against what the compiler believes.
func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("input.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("input.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range 300 {
		g := ruletest.New(uint64(seed))
		set := g.Set()
		f := g.Facts(set)
		in := NewInputs(set).Input(&f, &rule.Decision{Action: event.ActionDeny, Matches: []rule.Matched{{ID: "x"}}})
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		collectPaths("", value, seen)
	}
	wanted := map[string]bool{}
	schemaPaths(doc.(map[string]any), doc.(map[string]any), "", wanted)
	for path := range wanted {
		if !seen[path] {
			t.Errorf("the schema has %s, which no input had", path)
		}
	}
}

func collectPaths(at string, v any, seen map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			seen[at+"."+k] = true
			collectPaths(at+"."+k, x, seen)
		}
	case []any:
		for _, x := range v {
			collectPaths(at, x, seen)
		}
	}
}

func schemaPaths(root, s map[string]any, at string, to map[string]bool) {
	if ref, ok := s["$ref"].(string); ok {
		s = root["definitions"].(map[string]any)[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
	if items, ok := s["items"].(map[string]any); ok {
		schemaPaths(root, items, at, to)
	}
	props, _ := s["properties"].(map[string]any)
	for k, p := range props {
		to[at+"."+k] = true
		schemaPaths(root, p.(map[string]any), at+"."+k, to)
	}
}

// FuzzServe feeds a worker what nobody should send.
func FuzzServe(f *testing.F) {
	load := frame(f, &request{V: Version, Op: opLoad, Modules: []wireModule{{"good.rego", []byte(good)}}})
	f.Add(append(load, frame(f, &request{V: Version, Op: opEval, Package: "good", Inputs: []json.RawMessage{[]byte("{}")}, Deadline: 1e9})...))
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, sent []byte) {
		var out bytes.Buffer
		_ = Serve(t.Context(), bytes.NewReader(sent), &out)
		for out.Len() > 0 {
			if err := readFrame(&out, &response{}, maxResponse); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzInput evaluates documents that no core of ours sends.
func FuzzInput(f *testing.F) {
	f.Add([]byte(`{"v":1,"to":{"port":25}}`))
	f.Add([]byte(`{"to":[{"port":1e999}]}`))
	f.Add([]byte("null"))
	program, err := Compile(f.Context(), []rule.Module{module("good.rego", good)}, nil, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		a := program.answerOne(t.Context(), "good", input, time.Second)
		if len(a.Votes) > 1 || len(a.Votes) == 1 && a.Votes[0] != (wireVote{Set: "deny", ID: "mail"}) {
			t.Fatalf("%s: %+v", input, a)
		}
	})
}

// FuzzResponse feeds the core what a worker that was taken over may send.
func FuzzResponse(f *testing.F) {
	f.Add(frame(f, &response{V: 1, Answers: []wireAnswer{{Votes: []wireVote{{Set: "deny", ID: "mail", Reason: "r"}}}}})[4:])
	f.Add([]byte(`{"v":1,"answers":[{"votes":[{"set":"allow","id":""}]}]}`))
	program, err := Compile(f.Context(), []rule.Module{module("good.rego", good)}, nil, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var res response
		b := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
		if readFrame(bytes.NewReader(append(b, text...)), &res, maxResponse) != nil {
			return
		}
		out := make([]Answer, 1)
		s := &packageState{unit: program.packages[0]}
		if s.take(&res, out) != nil {
			return
		}
		for _, v := range out[0].Votes {
			if !strings.HasPrefix(v.ID, "custom.good.") || v.Action != 3 || len(v.Reason) > maxReason {
				t.Fatalf("took %+v", v)
			}
		}
	})
}
