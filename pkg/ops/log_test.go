package ops_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// logged returns the lines that write produces in a file.
func logged(t *testing.T, cfg ops.LogConfig) []string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	logger, err := ops.NewLogger(cfg, file)
	if err != nil {
		t.Fatal(err)
	}
	logger.Debug().Msg("quiet")
	logger.Info().Str("function", "fibonacci1").Msg("loud")
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestLoggerWritesJSONWhereThereIsNoTerminal(t *testing.T) {
	lines := logged(t, ops.LogConfig{Level: "info", Format: "auto"})
	if len(lines) != 1 {
		t.Fatalf("want the info line alone: %q", lines)
	}
	var event map[string]string
	if err := json.Unmarshal([]byte(lines[0]), &event); err != nil {
		t.Fatalf("%q: %v", lines[0], err)
	}
	if event["level"] != "info" || event["message"] != "loud" || event["function"] != "fibonacci1" {
		t.Errorf("event: %v", event)
	}
	at, err := time.Parse(time.RFC3339Nano, event["time"])
	if err != nil || time.Since(at) > time.Minute || !strings.Contains(event["time"], ".") {
		t.Errorf("time %q: %v", event["time"], err)
	}
}

func TestLoggerWritesConsoleWithoutColourToAFile(t *testing.T) {
	lines := logged(t, ops.LogConfig{Level: "debug", Format: "console"})
	if len(lines) != 2 || !strings.Contains(lines[1], "INF loud function=fibonacci1") {
		t.Errorf("lines: %q", lines)
	}
	if strings.Contains(strings.Join(lines, ""), "<nil>") {
		t.Errorf("the console writer could not read the time: %q", lines)
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, cfg := range []ops.LogConfig{{Level: "loud", Format: "json"}, {Format: "json"}, {Level: "info", Format: "xml"}} {
		if _, err := ops.NewLogger(cfg, os.Stderr); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
