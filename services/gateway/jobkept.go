package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// keptOutput is what was kept of a run's output: the parts one after the other.
type keptOutput struct {
	io.Reader
	parts []*keptPart
}

// openKept opens the parts that are asked for. If there are several, a line before each says which it is. The error wraps bus.ErrNoLog if there is none.
func (g *Gateway) openKept(ctx context.Context, run job.Run, wanted logRequest) (io.ReadCloser, error) {
	var wantedParts []job.LogPart
	for _, part := range run.Log {
		if (wanted.pod == "" || part.Pod == wanted.pod) && (wanted.container == "" || part.Container == wanted.container) {
			wantedParts = append(wantedParts, part)
		}
	}
	if len(wantedParts) == 0 {
		return nil, bus.ErrNoLog
	}
	output := &keptOutput{}
	var readers []io.Reader
	for i, part := range wantedParts {
		kept := &keptPart{tail: wanted.tail, get: func() (io.ReadCloser, error) { return g.deps.Bus.GetLog(ctx, part.Object) }}
		if len(wantedParts) > 1 {
			readers = append(readers, strings.NewReader(partTitle(part, i == 0)))
		}
		output.parts, readers = append(output.parts, kept), append(readers, kept)
	}
	output.Reader = io.MultiReader(readers...)
	if err := output.parts[0].open(); err != nil {
		return nil, errors.Join(outputProblem(err), output.Close())
	}
	return output, nil
}

// linesMissing says that a part does not begin where the output did.
const linesMissing = "(older lines are missing)\n"

// partTitle is the line before a part, as tail(1) writes it.
func partTitle(part job.LogPart, first bool) string {
	title := fmt.Sprintf("==> %s %s <==\n", part.Pod, part.Container)
	if part.Truncated {
		title += linesMissing
	}
	if !first { // the part before it may have ended within a line
		title = "\n" + title
	}
	return title
}

// Close ends it.
func (o *keptOutput) Close() error {
	var failures []error
	for _, part := range o.parts {
		if part.from != nil {
			failures = append(failures, part.from.Close())
		}
	}
	return errors.Join(failures...)
}

// keptPart is the kept output of one container, which is opened when its turn comes.
type keptPart struct {
	get func() (io.ReadCloser, error)
	// tail is how many lines are wanted, 0 for all.
	tail int
	from io.ReadCloser
	text *bufio.Reader
}

// Read reads the part from its first wanted line on.
func (k *keptPart) Read(p []byte) (int, error) {
	if k.from == nil {
		if err := k.open(); err != nil {
			return 0, err
		}
	}
	return k.text.Read(p)
}

// open counts the lines before it looks for the first wanted one, so that they need not be held.
func (k *keptPart) open() error {
	skip := 0
	if k.tail > 0 {
		from, err := k.get()
		if err != nil {
			return err
		}
		lines, err := countLines(from)
		if err = errors.Join(err, from.Close()); err != nil {
			return err
		}
		skip = lines - k.tail
	}
	from, err := k.get()
	if err != nil {
		return err
	}
	k.from, k.text = from, bufio.NewReader(from)
	return skipLines(k.text, skip)
}

// countLines counts a last line without an end as well.
func countLines(from io.Reader) (lines int, err error) {
	piece, open := make([]byte, logPiece), false
	for {
		n, err := from.Read(piece)
		if n > 0 {
			lines += bytes.Count(piece[:n], []byte{'\n'})
			open = piece[n-1] != '\n'
		}
		if err != nil && open {
			lines++
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

// skipLines reads that many lines, of any length.
func skipLines(from *bufio.Reader, lines int) error {
	for lines > 0 {
		_, err := from.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if err == nil {
			lines--
		}
	}
	return nil
}
