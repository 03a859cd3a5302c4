package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const rolePull = "pull"

// pullLoop is the bare side of delivery: what one would write with nats.go alone. A worker POSTs the message and confirms
// its ack; nothing is retried, limited, recorded or scaled.
type pullLoop struct {
	js     jetstream.JetStream
	client *http.Client
	url    string

	stops   []jetstream.ConsumeContext
	jobs    []chan jetstream.Msg
	workers sync.WaitGroup
}

// runPull serves a NATS server, and starts and stops the loop when it is told to on standard input.
func runPull(args []string) error {
	url, stop, err := startNATS(args[0], false)
	if err != nil {
		return err
	}
	defer stop()
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	loop := &pullLoop{js: js, url: "http://" + args[1] + "/", client: &http.Client{
		Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256}, Timeout: time.Minute,
	}}
	fmt.Println(url)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := loop.command(strings.Fields(lines.Text())); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("ok")
		}
	}
	return nil
}

// command is "start <workers> <function…>" or "stop".
func (l *pullLoop) command(words []string) error {
	if words[0] == "stop" {
		l.stop()
		return nil
	}
	workers, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	for _, name := range words[2:] {
		if err := l.start(name, workers); err != nil {
			return err
		}
	}
	return nil
}

// start makes the consumer of one function and its workers.
func (l *pullLoop) start(name string, workers int) error {
	ctx, cancel := context.WithTimeout(context.Background(), childStart)
	defer cancel()
	consumer, err := l.js.CreateOrUpdateConsumer(ctx, queue.CallsStream(), jetstream.ConsumerConfig{
		Durable: name, FilterSubject: queue.CallSubject(name), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 30 * time.Second, MaxAckPending: 100_000,
	})
	if err != nil {
		return fmt.Errorf("make the consumer %s: %w", name, err)
	}
	jobs := make(chan jetstream.Msg)
	l.jobs = append(l.jobs, jobs)
	for range workers {
		l.workers.Go(func() {
			for msg := range jobs {
				l.deliver(msg)
			}
		})
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) { jobs <- msg })
	if err != nil {
		return fmt.Errorf("consume %s: %w", name, err)
	}
	l.stops = append(l.stops, consuming)
	return nil
}

// deliver calls the backend and confirms the ack.
func (l *pullLoop) deliver(msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(msg.Data()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare loop:", err)
		return
	}
	answer, err := l.client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare loop:", err)
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body) // a broken answer was a call all the same
	_ = answer.Body.Close()
	if err := msg.DoubleAck(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bare loop:", err)
	}
}

// stop ends everything that start has started, after the calls in flight.
func (l *pullLoop) stop() {
	for _, s := range l.stops {
		s.Drain()
		<-s.Closed()
	}
	for _, jobs := range l.jobs {
		close(jobs)
	}
	l.workers.Wait()
	l.stops, l.jobs = nil, nil
}
