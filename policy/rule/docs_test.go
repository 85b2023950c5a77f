package rule

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestDocs loads every example of docs/rules.md, and holds that the page knows
// every key and that its examples are formatted.
func TestDocs(t *testing.T) {
	src, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(src, -1)
	if len(blocks) < 6 {
		t.Fatalf("%d examples: the page is not read as it should be", len(blocks))
	}
	for _, b := range blocks {
		name := "a.yaml"
		if strings.Contains(string(b[1]), "\ncases:") {
			name = "a_test.yaml"
		}
		fsys := fstest.MapFS{name: {Data: b[1]}, "lists/ads.txt": {Data: []byte("ads.example\n")}}
		if _, err := Load(fsys, Options{}); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
		got, err := Format(name, b[1])
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(got), string(b[1])); diff != "" {
			t.Errorf("an example is not formatted (-formatted +docs):\n%s", diff)
		}
	}
	g := language()
	for _, names := range [][]string{g.file.names(), g.rule.names(), g.confine.names(), g.process.names(), g.endpoint.names(), g.list.names(),
		g.tests.file.names(), g.tests.testCase.names(), g.tests.when.names(), g.tests.expect.names(), g.tests.subject.names(), g.tests.end.names()} {
		for _, key := range names {
			if !strings.Contains(string(src), "`"+key+"`") && !strings.Contains(string(src), key+": {file") {
				t.Errorf("docs/rules.md does not know the key %s", key)
			}
		}
	}
}
