package gateway

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// streamedBody passes a body on while it is read, and remembers what was wrong with it.
type streamedBody struct {
	from io.Reader
	// size is in bytes, -1 for unknown, and left what the limit still allows.
	size, left int64
	// err is why the body was not read to its end.
	err error
}

// Read is io.Reader's.
func (s *streamedBody) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.left -= int64(n)
	if s.left < 0 {
		err = errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// pacedReader reads from a connection, and fails if the caller takes more than pace for paceStep bytes. What passes between two reads is not
// the caller's time.
type pacedReader struct {
	from    io.Reader
	control *http.ResponseController // nil if the whole body is here already
	pace    time.Duration
	// step is what has come since the pace began anew, and spent the time that it took.
	step  int
	spent time.Duration
}

// Read is io.Reader's.
func (p *pacedReader) Read(to []byte) (int, error) {
	if p.control == nil {
		return p.from.Read(to)
	}
	start := time.Now()
	_ = p.control.SetReadDeadline(start.Add(p.pace - p.spent)) // every server of ours can
	n, err := p.from.Read(to)
	p.step += n
	p.spent += time.Since(start)
	if p.step >= paceStep {
		p.step, p.spent = 0, 0
	}
	return n, err
}

// stop takes the deadline away: it would end whatever net/http reads next, and with it the request.
func (p *pacedReader) stop() {
	if p.control != nil {
		_ = p.control.SetReadDeadline(time.Time{}) // every server of ours can
	}
}
