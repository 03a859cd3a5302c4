package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const roleBackend = "backend"

// Paths of a backend; every other one is a call with an empty answer.
const (
	pathKiB   = "/kib"   // a call with an answer of 1 KiB
	pathReset = "/reset" // begins to count anew
	pathTally = "/tally" // what was counted
)

// backend answers HTTP with as little work as it can, so that it is not what is measured, and counts its calls.
type backend struct {
	calls       atomic.Int64
	first, last atomic.Int64 // Unix nanoseconds
}

// tally is what a backend has counted.
type tally struct {
	Calls       int64
	First, Last int64 // Unix nanoseconds
}

func runBackend([]string) error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() { serveUntilStdinEnds(); _ = listener.Close() }()
	fmt.Println(listener.Addr())
	var b backend
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil //nolint:nilerr // the parent has ended it
		}
		go b.serve(conn) // ends with its connection, at the latest with the process
	}
}

func (b *backend) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		path, err := readRequest(in)
		if err != nil {
			return
		}
		if _, err := conn.Write(b.answer(path)); err != nil {
			return
		}
	}
}

// readRequest reads one request and returns its path.
func readRequest(in *bufio.Reader) (path string, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	path = string(bytes.Split(line, []byte(" "))[1])
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return "", http.ErrNotSupported
		}
	}
	_, err = in.Discard(length)
	return path, err
}

func (b *backend) answer(path string) []byte {
	switch path {
	case pathReset:
		b.calls.Store(0)
		b.first.Store(0)
	case pathTally:
		text, _ := json.Marshal(tally{b.calls.Load(), b.first.Load(), b.last.Load()}) // three numbers
		return append(answerHead(len(text)), text...)
	default:
		b.count()
		if path == pathKiB {
			return kibAnswer
		}
		return emptyAnswer
	}
	return emptyAnswer
}

func (b *backend) count() {
	now := time.Now().UnixNano()
	b.first.CompareAndSwap(0, now)
	b.last.Store(now)
	b.calls.Add(1)
}

var (
	emptyAnswer = answerHead(0)
	kibAnswer   = append(answerHead(1<<10), strings.Repeat("y", 1<<10)...)
)

func answerHead(length int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", length)
}

// askBackend reads an answer of a backend.
func askBackend(ctx context.Context, address, path string) (counted tally, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return tally{}, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return tally{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || len(body) == 0 {
		return tally{}, err
	}
	return counted, json.Unmarshal(body, &counted)
}
