package local

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

const (
	// maxLine is the longest line of a child that is logged, in bytes; the rest of a longer one is dropped.
	maxLine = 16 << 10
	// keptLines is how many lines are kept for the sentence that says why a replica failed, and keptLine is how many
	// bytes of each: that sentence is published with the function's state, whose size NATS bounds.
	keptLines = 20
	keptLine  = 256
)

// The two streams of a process.
const (
	stdout = "stdout"
	stderr = "stderr"
)

// output takes what one process writes: each line goes to the log, and the last ones are kept, for each stream its
// own, because nothing tells in which order a process wrote to both.
type output struct {
	logger zerolog.Logger // with fields that say whose it is
	whole  io.Writer      // gets every byte of both streams; nil for none

	mu   sync.Mutex
	last map[string][]string // guarded by mu; by stream, the oldest first
}

func newOutput(logger zerolog.Logger) *output {
	return &output{logger: logger, last: map[string][]string{}}
}

// copy logs each line of a stream until it ends or is closed.
func (o *output) copy(stream string, from io.Reader) {
	logger := o.logger.With().Str("stream", stream).Logger()
	reader := bufio.NewReaderSize(from, maxLine)
	inside := false // the piece belongs to a line whose start was logged already
	for {
		piece, err := reader.ReadSlice('\n')
		if len(piece) > 0 && o.whole != nil {
			_, _ = o.whole.Write(piece) // it says itself what it could not keep
		}
		if len(piece) > 0 && !inside {
			line := strings.TrimSuffix(strings.TrimSuffix(string(piece), "\n"), "\r")
			o.keep(stream, line)
			logger.Info().Msg(line)
		}
		inside = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !inside {
			return
		}
	}
}

func (o *output) keep(stream, line string) {
	if len(line) > keptLine {
		line = strings.ToValidUTF8(line[:keptLine], "") + "…"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[stream] = newest(append(o.last[stream], line), keptLines)
}

// lastLines is the end of a sentence: the last lines that the process wrote, those to stderr at the end. Each stream
// has half of them, or what the other one leaves.
func (o *output) lastLines() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	errors := newest(o.last[stderr], keptLines-min(len(o.last[stdout]), keptLines/2))
	lines := slices.Concat(newest(o.last[stdout], keptLines-len(errors)), errors)
	if len(lines) == 0 {
		return "it wrote no output"
	}
	return "its last lines of output:\n" + strings.Join(lines, "\n")
}

func newest(lines []string, count int) []string {
	return lines[max(len(lines)-count, 0):]
}
