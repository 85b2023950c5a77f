package top

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // panes show local time
	os.Exit(m.Run())
}
