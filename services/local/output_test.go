package local

import (
	"bufio"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestOutputArrivesInTheLog(t *testing.T) {
	t.Parallel()
	run := runCluster(t, testFunction(t, "f", "chatty"))
	pod := run.one(t, "f")
	run.stop()
	streams := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(run.logs.String()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct{ Function, Replica, Stream, Message string }
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Stream != "" && (entry.Function != "f" || entry.Replica != pod.Name) {
			t.Errorf("a line of %s %s", entry.Function, entry.Replica)
		}
		if strings.HasPrefix(entry.Message, "xxx") && len(entry.Message) != maxLine {
			t.Errorf("the long line has %d bytes in the log", len(entry.Message))
		}
		streams[entry.Message] = entry.Stream
	}
	for message, stream := range map[string]string{
		"to stdout": "stdout", "to stderr": "stderr", strings.Repeat("x", maxLine): "stdout", "the last line": "stdout",
	} {
		if streams[message] != stream {
			t.Errorf("%.20s came from %q, want %s", message, streams[message], stream)
		}
	}
}

func TestKeptLinesAreBounded(t *testing.T) {
	t.Parallel()
	log := newOutput(zerolog.Nop())
	for range 3 * keptLines {
		log.keep(stdout, strings.Repeat("é", maxLine/2))
	}
	if kept := log.lastLines(); len(kept) > keptLines*(keptLine+4)+100 || !strings.HasSuffix(kept, "é…") {
		t.Errorf("%d bytes are kept", len(kept))
	}
}

func TestNoisyStdoutDoesNotHideStderr(t *testing.T) {
	t.Parallel()
	log := newOutput(zerolog.Nop())
	log.keep(stderr, "cannot open /etc/secret")
	for i := range 100 {
		log.keep(stdout, strconv.Itoa(i))
	}
	kept := log.lastLines()
	expectContains(t, kept, "\n81\n", "\n99\ncannot open /etc/secret")
	if strings.Contains(kept, "\n80\n") {
		t.Errorf("more than %d lines are kept:\n%s", keptLines, kept)
	}
}
