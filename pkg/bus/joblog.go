package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/job"
)

// LogRequest asks for the output of a container of a run that has not ended.
type LogRequest struct {
	Definition string `json:"definition"`
	RunID      string `json:"runId"`
	// Pod and Container are empty for the newest pod and its main container.
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// TailLines is how many lines to begin with, 0 for all.
	TailLines int  `json:"tailLines,omitempty"`
	Follow    bool `json:"follow,omitempty"`
	// Start is the first start of the container whose output is meant, from 1: before that there is none. 0 is for whichever is there.
	Start int `json:"start,omitempty"`
}

var (
	// ErrNoLog says that there is no output: no pod has run, or no jobrunner leads.
	ErrNoLog = errors.New("there is no output yet")
	// ErrNoJobrunner is the ErrNoLog for which no jobrunner leads: whether there is output is not known.
	ErrNoJobrunner = fmt.Errorf("%w: no jobrunner leads", ErrNoLog)
	// ErrLogLost says that an output cannot be read on, because the jobrunner that served it is gone or has given it up. What was read is right; who wants
	// the rest opens it again, and passes over as many bytes if it was opened with TailLines 0.
	ErrLogLost = errors.New("the jobrunner does not serve this output any more")
)

// Limits of reading output.
const (
	// logChunk bounds one part, in bytes.
	logChunk = 64 << 10
	// logBeat is after how long a request is answered although there is no output.
	logBeat = 2 * time.Second
	// logAnswer is after how long a request for a part is repeated that nobody has answered, and logOpened one for an output.
	logAnswer = 2*logBeat + time.Second
	logOpened = 10 * time.Second
	// logGone is for how long nobody may listen for the next request: who serves may be a moment later with its connection than who reads.
	logGone = 2 * time.Second
	// logClose is the request that ends a session.
	logClose = "close"
)

// Words of headerLogError.
const (
	logNone   = "none"
	logBusy   = "busy"
	logLost   = "lost"
	logFailed = "failed"
)

// OpenLog asks the leading jobrunner for the output of a run. It ends with the output, or with ctx. The error wraps ErrNoLog if there is none or no jobrunner leads, and
// ErrUnavailable if one has no place for another reader or does not answer. That of Read wraps ErrLogLost if the jobrunner ends or is cut off, or if nothing was read
// for half a minute.
func (b *Bus) OpenLog(ctx context.Context, request LogRequest) (*LogReader, error) {
	if err := errors.Join(job.ValidName(request.Definition), job.ValidRunID(request.RunID)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLog, err)
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r := &LogReader{ctx: ctx, bus: b, output: b.JobOutputSubject(rand.Text()), answers: make(chan *nats.Msg, logAnswers)}
	if r.sub, err = b.conn.ChanSubscribe(r.output, r.answers); err != nil {
		return nil, fmt.Errorf("read the output of run %s of %s: %w: %w", request.RunID, request.Definition, ErrUnavailable, err)
	}
	r.reconnects, r.stop = b.Reconnects()
	answer, err := r.ask(ctx, logQuestion{b.JobLogSubject(request.Definition, request.RunID), data, "", logOpened})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		err = ErrNoJobrunner
	case err == nil:
		err = logError(answer)
	}
	if err != nil {
		r.leave()
		return nil, fmt.Errorf("read the output of run %s of %s: %w", request.RunID, request.Definition, err)
	}
	r.session = b.LogSessionSubject(answer.Header.Get(headerLogSession))
	r.Start, _ = strconv.Atoi(answer.Header.Get(headerLogStart)) // without one it is 0
	return r, nil
}

// logAnswers is room for those that come because a request was repeated.
const logAnswers = 16

// LogReader reads an output part by part: it asks for the next one when the last one has been read. One goroutine uses it.
type LogReader struct {
	// Start is which start of the container the output is of, from 1; 0 if it goes on when the container is started again.
	Start int
	// ctx is that of OpenLog: Read has none.
	ctx context.Context
	bus *Bus
	// output is where the answers come, and session whom to ask.
	output, session string
	sub             *nats.Subscription
	answers         chan *nats.Msg
	reconnects      <-chan struct{}
	stop            func()
	offset          int64  // bytes that have come
	part            []byte // what is left of the newest part
	err             error
}

// logQuestion is a request for an output, or for the part of one at a place.
type logQuestion struct {
	subject string
	data    []byte
	// place is that of the answer, empty if it has none.
	place   string
	timeout time.Duration
}

// Read implements io.Reader.
func (r *LogReader) Read(p []byte) (n int, err error) {
	for len(r.part) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.part) == 0 {
		return 0, r.err
	}
	n = copy(p, r.part)
	r.part = r.part[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *LogReader) Close() error {
	_ = r.bus.conn.Publish(r.session, []byte(logClose)) // if it is lost the session ends by itself
	r.leave()
	r.part, r.err = nil, errors.New("the output is closed")
	return nil
}

func (r *LogReader) leave() {
	_ = r.sub.Unsubscribe() // fails only when the connection is closed
	r.stop()
}

// next gets the next part, which is empty if there is no output for a while.
func (r *LogReader) next() error {
	place := strconv.FormatInt(r.offset, 10)
	answer, err := r.askOn(logQuestion{r.session, []byte(place), place, logAnswer})
	if err == nil {
		r.part, err = answer.Data, logError(answer)
		r.offset += int64(len(answer.Data))
	}
	if err != nil {
		return fmt.Errorf("read the output: %w", err)
	}
	if answer.Header.Get(headerLogEnd) != "" {
		return io.EOF
	}
	return nil
}

// askOn asks for the next part, and bears with a session that nobody serves for a moment.
func (r *LogReader) askOn(question logQuestion) (answer *nats.Msg, err error) {
	for first := time.Now(); ; sleep(r.ctx, reconnectWait) {
		answer, err = r.ask(r.ctx, question)
		switch {
		case !errors.Is(err, nats.ErrNoResponders):
			return answer, err
		case r.ctx.Err() != nil:
			return nil, context.Cause(r.ctx)
		case time.Since(first) > logGone:
			return nil, ErrLogLost
		}
	}
}

// ask sends a request, repeating it while NATS is away or nobody answers, for as long as a publish is repeated but at least twice. The error is nats.ErrNoResponders if nobody is
// there to answer.
func (r *LogReader) ask(ctx context.Context, question logQuestion) (answer *nats.Msg, err error) {
	nobody := false
	bounded, cancel := context.WithTimeout(ctx, max(2*question.timeout, r.bus.config.Settings.PublishPatience))
	defer cancel()
	err = retry(bounded, func(ctx context.Context) error {
		answer, err = r.askOnce(ctx, question)
		if nobody = errors.Is(err, nats.ErrNoResponders); nobody {
			return nil
		}
		return err
	})
	if nobody {
		return nil, nats.ErrNoResponders
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return answer, err
}

func (r *LogReader) askOnce(ctx context.Context, question logQuestion) (*nats.Msg, error) {
	connections := r.bus.conn.Stats().Reconnects
	if err := r.bus.conn.PublishRequest(question.subject, r.output, question.data); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(question.timeout)
	defer timeout.Stop()
	for {
		select {
		case msg := <-r.answers:
			switch {
			case len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
				return nil, nats.ErrNoResponders
			case msg.Header.Get(headerLogOffset) == question.place: // others answer a request that was repeated
				return msg, nil
			}
		case <-r.reconnects:
			if r.bus.conn.Stats().Reconnects != connections { // else it is told of an earlier one
				return nil, errors.New("the connection was lost")
			}
		case <-timeout.C:
			return nil, errors.New("nobody has answered")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// logError is what an answer says is wrong.
func logError(answer *nats.Msg) error {
	text := answer.Header.Get(headerLogDetail)
	switch answer.Header.Get(headerLogError) {
	case "":
		return nil
	case logNone:
		return fmt.Errorf("%w: %s", ErrNoLog, text)
	case logBusy:
		return fmt.Errorf("%w: %s", ErrUnavailable, text)
	case logLost:
		return ErrLogLost
	default:
		return errors.New(text)
	}
}
