package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Limits of serving output.
const (
	// maxLogSessions bounds the outputs that are read at a time.
	maxLogSessions = 100
	// logIdle is for how long a session goes without a request before it is given up.
	logIdle = 30 * time.Second
	// logOpening bounds the wait for an output to be opened. It is less than a reader waits for it.
	logOpening = logOpened - time.Second
	// maxLogError bounds the sentence about what went wrong, in bytes.
	maxLogError = 1 << 10
)

// ServeLogs answers requests for the output of runs until ctx ends, with what open returns. An error of open that wraps ErrNoLog is ErrNoLog for the reader too. Who reads
// slowly is waited for, up to half a minute for each part of 64 KiB, and holds up nobody else; at most 100 outputs are read at a time. The context of open ends with the
// reading, and Close of what it returns must end a Read. If what it returns has a method Start() int, the reader is told that as LogReader.Start.
func (b *Bus) ServeLogs(ctx context.Context, open func(ctx context.Context, request LogRequest) (io.ReadCloser, error)) error {
	return (&logServer{bus: b, open: open, places: make(chan struct{}, maxLogSessions), idle: logIdle, beat: logBeat}).run(ctx)
}

// logServer is the state of ServeLogs.
type logServer struct {
	bus  *Bus
	open func(ctx context.Context, request LogRequest) (io.ReadCloser, error)
	// places has a value for each session.
	places     chan struct{}
	idle, beat time.Duration
	sessions   sync.WaitGroup
}

func (s *logServer) run(ctx context.Context) error {
	defer s.sessions.Wait()
	// Of several jobrunners, as while the lead changes, one answers.
	stop, err := s.bus.subscribeIn(logServers, s.bus.AllJobLogs(), func(msg *nats.Msg) { s.begin(ctx, msg) })
	if err != nil {
		return fmt.Errorf("serve the output of runs: %w", err)
	}
	defer stop()
	<-ctx.Done()
	return nil
}

// begin answers a request for an output, in a goroutine of its own because open may take long.
func (s *logServer) begin(ctx context.Context, msg *nats.Msg) {
	if !s.bus.forReader(msg.Reply) {
		return
	}
	var request LogRequest
	if err := json.Unmarshal(msg.Data, &request); err != nil || s.bus.JobLogSubject(request.Definition, request.RunID) != msg.Subject {
		s.bus.refuseLog(msg, logFailed, "the request is none of this run")
		return
	}
	select {
	case s.places <- struct{}{}:
	default:
		s.bus.refuseLog(msg, logBusy, fmt.Sprintf("%d outputs are read already", cap(s.places)))
		return
	}
	s.sessions.Go(func() {
		defer func() { <-s.places }()
		s.session(ctx, msg, request)
	})
}

// forReader reports whether a reply subject is that of a reader: nothing is ever sent to another one, whoever asks for it.
func (b *Bus) forReader(reply string) bool {
	reader, ok := wordAfter(reply, b.JobOutputSubject(""))
	return ok && validWord(reader)
}

// session opens an output and serves it.
func (s *logServer) session(ctx context.Context, msg *nats.Msg, request LogRequest) {
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	overdue := time.AfterFunc(logOpening, cancel)
	output, err := s.open(serving, request)
	late := !overdue.Stop()
	if err == nil && !late && serving.Err() == nil {
		session := &logSession{logServer: s, output: output, requests: make(chan *nats.Msg, 4), parts: make(chan logPart)}
		session.serve(serving, msg)
		return
	}
	if err == nil {
		_ = output.Close() // it was only to be read
	}
	switch {
	case late:
		s.bus.refuseLog(msg, logFailed, fmt.Sprintf("it could not be opened within %v", logOpening))
	case serving.Err() != nil: // when it is not served any more, somebody else may answer
	case errors.Is(err, ErrNoLog):
		s.bus.refuseLog(msg, logNone, shortText(err))
	default:
		s.bus.refuseLog(msg, logFailed, shortText(err))
	}
}

// refuseLog says why there is no output.
func (b *Bus) refuseLog(msg *nats.Msg, word, detail string) {
	b.answerLog(msg, nil, nats.Header{headerLogError: {word}, headerLogDetail: {detail}})
}

// answerLog sends an answer. If it is lost the reader asks again.
func (b *Bus) answerLog(msg *nats.Msg, data []byte, header nats.Header) {
	if b.forReader(msg.Reply) {
		_ = b.conn.PublishMsg(&nats.Msg{Subject: msg.Reply, Header: header, Data: data})
	}
}

// logSession serves one output to one reader. The goroutine of serve owns it, but for output, which that of pump reads.
type logSession struct {
	*logServer
	output   io.ReadCloser
	requests chan *nats.Msg // what does not fit is repeated by the reader
	parts    chan logPart
	// last is the newest part that was sent, at offset; it is sent again if its answer was lost.
	last   logPart
	offset int64
}

// logPart is a part of an output. err is io.EOF for the last one.
type logPart struct {
	data []byte
	err  error
}

// serve tells the reader of the session, then answers until the reader leaves, or does not ask for too long, or ctx ends.
func (s *logSession) serve(ctx context.Context, opening *nats.Msg) {
	ctx, cancel := context.WithCancel(ctx)
	var pump sync.WaitGroup
	pump.Go(func() { s.pump(ctx) })
	defer pump.Wait()
	defer func() { _ = s.output.Close() }() // so that a Read of pump ends
	defer cancel()
	id := rand.Text()
	stop, err := s.bus.subscribe(s.bus.LogSessionSubject(id), func(msg *nats.Msg) {
		select {
		case s.requests <- msg:
		default:
		}
	})
	if err != nil { // the connection is closed
		return
	}
	defer stop()
	header := nats.Header{headerLogSession: {id}}
	if numbered, ok := s.output.(interface{ Start() int }); ok {
		header[headerLogStart] = []string{strconv.Itoa(numbered.Start())}
	}
	s.bus.answerLog(opening, nil, header)
	for idle := time.NewTimer(s.idle); ; idle.Reset(s.idle) {
		select {
		case msg := <-s.requests:
			if string(msg.Data) == logClose {
				return
			}
			s.answer(ctx, msg)
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// pump reads the output, at most one part ahead of what was asked for.
func (s *logSession) pump(ctx context.Context) {
	for {
		buffer := make([]byte, logChunk)
		n, err := s.output.Read(buffer)
		select {
		case s.parts <- logPart{buffer[:n], err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// answer sends the part at the place that is asked for: the next one, or the last one again.
func (s *logSession) answer(ctx context.Context, msg *nats.Msg) {
	place, err := strconv.ParseInt(string(msg.Data), 10, 64)
	next := s.offset + int64(len(s.last.data))
	if err != nil || place != s.offset && place != next {
		return // nobody who reads asks for it
	}
	if place == next && s.last.err == nil {
		s.offset, s.last = next, s.next(ctx)
	}
	s.send(msg)
}

// next waits for output, and returns an empty part if there is none for a while.
func (s *logSession) next(ctx context.Context) logPart {
	beat := time.NewTimer(s.beat)
	defer beat.Stop()
	select {
	case part := <-s.parts:
		return part
	case <-beat.C:
		return logPart{}
	case <-ctx.Done():
		return logPart{err: ErrLogLost}
	}
}

// send sends the last part.
func (s *logSession) send(msg *nats.Msg) {
	header := nats.Header{headerLogOffset: {strconv.FormatInt(s.offset, 10)}}
	switch err := s.last.err; {
	case err == nil:
	case errors.Is(err, io.EOF):
		header[headerLogEnd] = []string{"true"}
	case errors.Is(err, ErrLogLost):
		header[headerLogError] = []string{logLost}
	default:
		header[headerLogError], header[headerLogDetail] = []string{logFailed}, []string{shortText(err)}
	}
	s.bus.answerLog(msg, s.last.data, header)
}

// shortText is the error as one sentence of a bounded length.
func shortText(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxLogError)], "")
}
