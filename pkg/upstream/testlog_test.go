package upstream

import (
	"log"
	"testing"
)

// testLog fails the test when the server logs: a stack trace, a superfluous WriteHeader.
type testLog struct{ t *testing.T }

func (l *testLog) logger() *log.Logger { return log.New(l, "", 0) }

// Write is called by the logger.
func (l *testLog) Write(p []byte) (int, error) {
	l.t.Errorf("the server logged: %s", p)
	return len(p), nil
}
