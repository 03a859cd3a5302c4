package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is closed-loop load over kept connections: each sends the same bytes as soon as it has the answer. It costs the
// machine one write and one read for each request, so that it takes little of what the sides are measured by.
type load struct {
	address     string
	request     []byte
	connections int
	wantStatus  int
	window      time.Duration
	// server is the process whose processor time is noted beside the rate: that one knows nothing of the load that others put
	// on the machine.
	server *child
}

// warmUp is how long load runs before it counts.
const warmUp = 250 * time.Millisecond

// sender is one connection. Its goroutine owns it until it has ended.
type sender struct {
	load    load
	from    time.Time // what is answered from here on counts
	until   time.Time
	buffer  []byte
	took    []time.Duration
	answers int // with those that do not count
	err     error
}

// run returns the answers per second and how long they took.
func (l load) run(ctx context.Context) (f figure, err error) {
	from := time.Now().Add(warmUp)
	senders := make([]*sender, l.connections)
	before, cpuErr := l.server.cpu()
	var running sync.WaitGroup
	for i := range senders {
		s := &sender{load: l, from: from, until: from.Add(l.window), buffer: make([]byte, 16<<10)}
		senders[i] = s
		running.Go(func() { s.err = s.run(ctx) })
	}
	running.Wait()
	after, afterErr := l.server.cpu()
	var took []time.Duration
	answers := 0
	for _, s := range senders {
		err = errors.Join(err, s.err)
		took = append(took, s.took...)
		answers += s.answers
	}
	if err != nil || len(took) == 0 {
		return figure{}, fmt.Errorf("load on %s, %d answers: %w", l.address, len(took), err)
	}
	slices.Sort(took)
	f.rate, f.note = float64(len(took))/l.window.Seconds(), fmt.Sprintf("p50 %v, p99 %v", at(took, 0.5), at(took, 0.99))
	if cpuErr == nil && afterErr == nil {
		f.cpu = float64((after - before).Microseconds()) / float64(answers)
	}
	return f, nil
}

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Microsecond)
}

func (s *sender) run(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.load.address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(s.until.Add(10 * time.Second)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	for {
		start := time.Now()
		if start.After(s.until) || ctx.Err() != nil {
			return nil
		}
		if _, err := conn.Write(s.load.request); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		status, err := s.read(conn)
		if err != nil {
			return err
		}
		if status != s.load.wantStatus {
			return fmt.Errorf("the answer is %d, not %d", status, s.load.wantStatus)
		}
		s.answers++
		if end := time.Now(); end.After(s.from) && end.Before(s.until) {
			s.took = append(s.took, end.Sub(start))
		}
	}
}

// read reads one answer, which must have a Content-Length and fit the buffer.
func (s *sender) read(conn net.Conn) (status int, err error) {
	for have, want := 0, -1; want < 0 || have < want; {
		n, err := conn.Read(s.buffer[have:])
		have += n
		if err != nil {
			return 0, fmt.Errorf("read the answer: %w", err)
		}
		if want >= 0 {
			continue
		}
		head := bytes.Index(s.buffer[:have], []byte("\r\n\r\n"))
		if head < 0 {
			continue
		}
		length, err := contentLength(s.buffer[:head+2])
		if err != nil {
			return 0, err
		}
		if want = head + 4 + length; want > len(s.buffer) {
			return 0, fmt.Errorf("the answer has %d bytes, too many", want)
		}
	}
	return strconv.Atoi(string(s.buffer[9:12]))
}

var lengthField = []byte("\r\nContent-Length: ")

func contentLength(head []byte) (int, error) {
	start := bytes.Index(head, lengthField)
	if start < 0 {
		return 0, fmt.Errorf("the answer has no Content-Length: %q", head)
	}
	value := head[start+len(lengthField):]
	return strconv.Atoi(string(value[:bytes.IndexByte(value, '\r')]))
}

// post is the bytes of a POST with a body of that many bytes.
func post(host, path string, size int) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", path, host, size)
	return append([]byte(head), bytes.Repeat([]byte("x"), size)...)
}

// get is the bytes of a GET.
func get(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", path, host)
}
